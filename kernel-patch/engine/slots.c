// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Pools, slots in them, and what a slot holds. Slots are pieces of 8 bytes, as many as each
 * needs.
 */
#include "point.h"

#define POOLS_MAX 8

struct pool {
	unsigned long base; /* the trampoline */
	unsigned long slots;
	u32 pieces;
	u32 free; /* of them */
	u32 next; /* where the search begins */
	u8 *taken; /* a byte a piece */
};

static struct pool pools[POOLS_MAX];

static int write_trampoline(unsigned long base)
{
	struct os_edit edits[PROBE_TRAMPOLINE_SIZE / OS_EDIT_MAX];
	size_t size = probe_trampoline_end - probe_trampoline;
	size_t n = 0, at;

	if (size > PROBE_TRAMPOLINE_SIZE)
		return -EINVAL;
	for (at = 0; at < size; at += OS_EDIT_MAX) {
		edits[n++] = (struct os_edit){
			.address = (void *)(base + at),
			.bytes = probe_trampoline + at,
			.length = size - at < OS_EDIT_MAX ? size - at : OS_EDIT_MAX,
		};
	}
	return points_write(edits, n);
}

int slots_init(void)
{
	unsigned int i;

	for (i = 0; i < POOLS_MAX; i++) {
		struct pool *pool = &pools[i];
		void *slots;
		size_t size;
		void *base = os_pool(i, &size, &slots);
		int err;

		if (!base)
			break;
		pool->slots = ((unsigned long)slots + SLOT_PIECE - 1) & -(unsigned long)SLOT_PIECE;
		pool->pieces = ((unsigned long)base + size - pool->slots) / SLOT_PIECE;
		pool->free = pool->pieces;
		pool->taken = os_alloc(pool->pieces);
		if (!pool->taken)
			return -ENOMEM;
		err = write_trampoline((unsigned long)base);
		if (err)
			return err;
		pool->base = (unsigned long)base;
	}
	return 0;
}

/* A run of free pieces among [from, to), or to. */
static u32 find_pieces(const struct pool *pool, u32 from, u32 to, u32 n)
{
	u32 run = 0, i;

	for (i = from; i < to; i++) {
		run = pool->taken[i] ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return to;
}

/* The text that a slot must reach: the probe's place, and where its instructions may go. */
static void span(const struct probe_point *point, unsigned long *first, unsigned long *last)
{
	unsigned long at = point->address;
	unsigned int i;

	*first = at;
	*last = at + point->run;
	for (i = 0; i < point->insns; i++) {
		const struct insn *insn = &point->insn[i];
		unsigned long target = at + (unsigned long)insn->target;

		at += insn->length;
		if (insn->flow != INSN_BRANCH && insn->flow != INSN_JUMP && insn->flow != INSN_CALL)
			continue;
		if (target < *first)
			*first = target;
		if (target > *last)
			*last = target;
	}
}

/*
 * Which pieces of a pool jumps from and to a span of text can reach. A pool of which only a
 * little is in reach is left alone: whether a slot is free there would change from one time to the
 * next, and with it how a function is probed.
 */
static void within_reach(const struct pool *pool, unsigned long first, unsigned long last,
			 u32 *from, u32 *to)
{
	const unsigned long reach = (1ul << 20) - 2 * SLOT_BYTES_MAX;
	unsigned long low = last > reach ? last - reach : 0;
	unsigned long end = pool->slots + (unsigned long)pool->pieces * SLOT_PIECE;

	*from = 0;
	*to = 0;
	if (low >= end || first + reach <= pool->slots)
		return;
	if (low > pool->slots)
		*from = (low - pool->slots + SLOT_PIECE - 1) / SLOT_PIECE;
	*to = pool->pieces;
	if (first + reach < end)
		*to = (first + reach - pool->slots) / SLOT_PIECE;
	if (*to < *from + pool->pieces / 4)
		*to = *from;
}

static unsigned long take_from(struct pool *pool, u32 from, u32 to, u32 n)
{
	u32 start = pool->next > from && pool->next < to ? pool->next : from;
	u32 at = find_pieces(pool, start, to, n);

	if (at == to) {
		to = start + n < to ? start + n : to;
		at = find_pieces(pool, from, to, n);
	}
	if (at == to)
		return 0;
	pool->next = at + n;
	pool->free -= n;
	while (n--)
		pool->taken[at + n] = 1;
	return pool->slots + (unsigned long)at * SLOT_PIECE;
}

unsigned long slot_take(const struct probe_point *point, u32 bytes)
{
	u32 n = (bytes + SLOT_PIECE - 1) / SLOT_PIECE;
	unsigned long first, last;
	u32 tried = 0;

	span(point, &first, &last);
	/* The emptiest pool first: text between two of them can do with either. */
	for (;;) {
		struct pool *best = 0;
		unsigned long slot;
		unsigned int i;
		u32 from, to;

		for (i = 0; i < POOLS_MAX; i++) {
			struct pool *pool = &pools[i];

			if (!pool->base || tried & 1u << i || (best && best->free >= pool->free))
				continue;
			within_reach(pool, first, last, &from, &to);
			if (from < to)
				best = pool;
		}
		if (!best)
			return 0;
		within_reach(best, first, last, &from, &to);
		slot = take_from(best, from, to, n);
		if (slot)
			return slot;
		tried |= 1u << (best - pools);
	}
}

static struct pool *pool_of(unsigned long slot)
{
	unsigned int i;

	for (i = 0; i < POOLS_MAX; i++) {
		struct pool *pool = &pools[i];

		if (pool->base && slot >= pool->slots &&
		    slot - pool->slots < (unsigned long)pool->pieces * SLOT_PIECE)
			return pool;
	}
	return 0;
}

void slot_give_back(unsigned long slot, u32 bytes)
{
	struct pool *pool = pool_of(slot);
	u32 n = (bytes + SLOT_PIECE - 1) / SLOT_PIECE;
	u32 at;

	if (!pool)
		return;
	at = (slot - pool->slots) / SLOT_PIECE;
	pool->free += n;
	/* The end of a slot that needs less: the next one follows there. */
	if (pool->next == at + n)
		pool->next = at;
	while (n--)
		pool->taken[at + n] = 0;
}

bool slots_scarce(void)
{
	unsigned int i;

	for (i = 0; i < POOLS_MAX; i++) {
		if (pools[i].base && pools[i].free < pools[i].pieces / 4)
			return true;
	}
	return false;
}

unsigned long slot_trampoline(unsigned long slot)
{
	return pool_of(slot)->base;
}

static u8 *put16(u8 *at, u32 bits)
{
	at[0] = bits;
	at[1] = bits >> 8;
	return at + 2;
}

static u8 *put32(u8 *at, u32 bits)
{
	return put16(put16(at, bits), bits >> 16);
}

#ifdef __riscv_compressed
#define put_insn put16

/* c.addi16sp: sp += bytes, a multiple of 16 from -512 to 496. */
static u32 add_sp(s32 bytes)
{
	u32 imm = (u32)bytes;

	return 0x6101 | (imm >> 9 & 1) << 12 | (imm >> 4 & 1) << 6 | (imm >> 6 & 1) << 5 |
	       (imm >> 7 & 3) << 3 | (imm >> 5 & 1) << 2;
}

/* c.sdsp ra */
static u32 save_ra(u32 at)
{
	return 0xe006 | (at >> 3 & 7) << 10 | (at >> 6 & 7) << 7;
}

/* c.ldsp ra */
static u32 load_ra(u32 at)
{
	return 0x6082 | (at >> 5 & 1) << 12 | (at >> 3 & 3) << 5 | (at >> 6 & 7) << 2;
}
#else
#define put_insn put32

static u32 add_sp(s32 bytes)
{
	return 0x00010113 | (u32)bytes << 20;
}

static u32 save_ra(u32 at)
{
	return 0x00113023 | (at >> 5) << 25 | (at & 31) << 7;
}

static u32 load_ra(u32 at)
{
	return 0x00013083 | at << 20;
}
#endif

/* The head of a jump's slot; see point.h. 0 if the trampoline is out of reach. */
static u8 *put_head(const struct probe_point *point, u8 *at)
{
	unsigned long self = (unsigned long)point;
	u32 call = insn_call(point->slot + SLOT_LINK - 4, slot_trampoline(point->slot));
	u32 ra = PORT_TF_X(1) * 8;

	static_assert(FRAME_BYTES <= 496 && FRAME_BYTES % 16 == 0,
		      "sp moves by one short instruction");
	static_assert(PORT_TF_X(1) < 64, "ra is saved by one short instruction");
	if (!call)
		return 0;
	at = put32(at, (u32)self);
	at = put32(at, (u32)(self >> 32));
	at = put_insn(at, add_sp(-FRAME_BYTES));
	at = put_insn(at, save_ra(ra));
	at = put32(at, call);
	at = put_insn(at, load_ra(ra));
	return put_insn(at, add_sp(FRAME_BYTES));
}

u32 slot_build(const struct probe_point *point, void *code)
{
	unsigned long from = point->address;
	u8 *at = code;
	unsigned int i;
	u32 back;

	if (point->jump) {
		at = put_head(point, at);
		if (!at)
			return 0;
	}
	for (i = 0; i < point->insns; i++) {
		size_t n = insn_move(&point->insn[i], from, point->slot + (at - (u8 *)code), at);

		if (!n)
			return 0;
		at += n;
		from += point->insn[i].length;
	}
	back = insn_jump(point->slot + (at - (u8 *)code), from);
	if (!back)
		return 0;
	return put32(at, back) - (u8 *)code;
}
