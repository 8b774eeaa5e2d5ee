// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Where a probe can stand and how: one pass over the function says whether the address is an
 * instruction, whether a load-reserved and its store-conditional are around it, and whether
 * something branches between displaced instructions.
 */
#include "encode.h"
#include "point.h"

/* What the pass over a function found about an address in it. */
struct scan {
	unsigned long address;
	unsigned long start, end; /* of the function */
	unsigned long reserved; /* the load-reserved whose range the address is in, or 0 */
	bool boundary;
	bool jumps; /* somewhere that no instruction tells, as a table of targets does */
	unsigned int targets; /* bit i: something branches to address + i */
};

u32 place_fetch(unsigned long address)
{
	struct probe_point *point = point_known(address);

	if (point && point->text != POINT_TEXT_OWN)
		return point->insn[0].bits;
	point = point_known(address - 2);
	if (point && point->text == POINT_TEXT_JUMP && point->insns == 2)
		return point->insn[1].bits;
	return insn_fetch((const void *)address);
}

bool place_byte(unsigned long address, u8 *byte)
{
	unsigned long at;

	for (at = (address & ~1ul) - 2; at <= address; at += 2) {
		const struct probe_point *point = point_known(at);
		unsigned int changed;
		u64 bits;

		if (!point || point->text == POINT_TEXT_OWN)
			continue;
		changed = point->text == POINT_TEXT_JUMP ? 4 : point->insn[0].length;
		if (address - at >= changed)
			continue;
		bits = (u64)point->insn[1].bits << (8 * point->insn[0].length);
		bits |= point->insn[0].bits;
		*byte = (u8)(bits >> 8 * (address - at));
		return true;
	}
	*byte = *(const u8 *)address;
	return false;
}

/*
 * A jump to what a register says. Returns go elsewhere, and so does what the instruction before
 * has made the address for: the call of another function, as the last thing.
 */
static bool jumps_anywhere(const struct insn *insn, unsigned int made)
{
	unsigned int by = insn_rs1(insn->full);

	return insn->flow == INSN_JUMP_REG && by != 1 && by != made;
}

static void scan_function(struct scan *scan)
{
	unsigned long at, reserved = 0;
	unsigned int made = 0; /* the register of an auipc right before */
	struct insn insn;

	for (at = scan->start; at + 2 <= scan->end; at += insn.length) {
		unsigned long distance;

		insn_decode(&insn, place_fetch(at));
		if (insn.reserve == INSN_LOAD_RESERVED)
			reserved = at;
		if (at == scan->address) {
			scan->boundary = true;
			scan->reserved = reserved;
		}
		if (insn.reserve == INSN_STORE_CONDITIONAL)
			reserved = 0;
		if (jumps_anywhere(&insn, made))
			scan->jumps = true;
		made = insn.simulate == INSN_SIM_AUIPC ? insn_rd(insn.full) : 0;
		if (insn.flow != INSN_BRANCH && insn.flow != INSN_JUMP && insn.flow != INSN_CALL)
			continue;
		distance = at + (unsigned long)insn.target - scan->address;
		if (distance < 8)
			scan->targets |= 1u << distance;
	}
}

static bool calls(const struct insn *insn)
{
	return insn->flow == INSN_CALL || insn->flow == INSN_CALL_REG;
}

/*
 * Whether a jump can stand at the point, and what it displaces. It takes 4 bytes, and nobody may
 * find himself behind its first one: neither by a branch, nor by a return, nor, on a kernel that
 * is preempted inside of functions, when it goes on.
 */
static bool displace(struct probe_point *point, const struct scan *scan)
{
	struct insn *insn = point->insn;
	struct probe_refusal why;
	unsigned int i;

	point->insns = 1;
	point->run = insn[0].length;
	if (insn[0].length == 2) {
		if (scan->address != scan->start || os_preemptible() || calls(&insn[0]))
			return false;
		if (scan->address + 4 > scan->end || scan->jumps)
			return false;
		insn_decode(&insn[1], place_fetch(scan->address + 2));
		if (insn[1].policy == INSN_REJECT || insn[1].reserve)
			return false;
		point->insns = 2;
		point->run += insn[1].length;
	}
	if (scan->address + point->run > scan->end)
		return false;
	for (i = 1; i < point->run; i++) {
		if (scan->targets & 1u << i || point_known(scan->address + i))
			return false;
	}
	return !os_may_probe(scan->address, scan->address + point->run, &why);
}

/* Takes so many bytes for a slot, and gives back what it does not need of them. */
static bool try_slot(struct probe_point *point, u32 room)
{
	u8 code[SLOT_BYTES_MAX];
	u32 n;

	point->slot = slot_take(point, room);
	if (!point->slot)
		return false;
	n = slot_build(point, code);
	if (!n || n > room) {
		slot_give_back(point->slot, room);
		point->slot = 0;
		return false;
	}
	point->slot_bytes = (n + SLOT_PIECE - 1) & -SLOT_PIECE;
	if (room > point->slot_bytes)
		slot_give_back(point->slot + point->slot_bytes, room - point->slot_bytes);
	return true;
}

static bool take_slot(struct probe_point *point, bool jump)
{
	u32 head = (jump ? SLOT_MOVED : 0) + 4;
	u32 least = (head + point->run + SLOT_PIECE - 1) & -SLOT_PIECE;
	u32 room = (head + point->insns * INSN_MOVED_MAX + SLOT_PIECE - 1) & -SLOT_PIECE;

	point->jump = jump;
	/* How long moved instructions are depends on where to. */
	for (; room >= least; room -= SLOT_PIECE) {
		if (try_slot(point, room)) {
			point->resume = point->slot + (jump ? SLOT_MOVED : 0);
			return true;
		}
	}
	point->jump = false;
	return false;
}

static int refuse(struct probe_refusal *why, u32 reason, unsigned long address, int err)
{
	why->reason = reason;
	why->address = address;
	return err;
}

int point_place(struct probe_point *point, bool jump, struct probe_refusal *why)
{
	struct scan scan = { .address = point->address };
	struct insn *insn = &point->insn[0];
	size_t size;
	int err;

	if (!os_function(scan.address, &scan.start, &size))
		return refuse(why, PROBE_REASON_NOT_TEXT, scan.address, -ENOENT);
	scan.end = scan.start + size;
	point->function = scan.start;
	scan_function(&scan);
	if (!scan.boundary)
		return refuse(why, PROBE_REASON_BOUNDARY, scan.address, -EILSEQ);
	if (scan.reserved)
		return refuse(why, PROBE_REASON_LR_SC, scan.reserved, -EACCES);
	if (!insn_decode(insn, place_fetch(scan.address)) || insn->policy == INSN_REJECT)
		return refuse(why, PROBE_REASON_INSTRUCTION, scan.address, -EOPNOTSUPP);
	err = os_may_probe(scan.address, scan.address + insn->length, why);
	if (err)
		return err;
	if (points_retired() && slots_scarce())
		points_write(0, 0);
	if (jump && displace(point, &scan) && take_slot(point, true)) {
		point->jumps = true;
		return 0;
	}
	point->insns = 1;
	point->run = insn->length;
	if (take_slot(point, false) || insn->simulate)
		return 0;
	if (insn->policy == INSN_SLOT)
		return refuse(why, PROBE_REASON_SLOTS, scan.address, -ENOSPC);
	return refuse(why, PROBE_REASON_INSTRUCTION, scan.address, -EOPNOTSUPP);
}
