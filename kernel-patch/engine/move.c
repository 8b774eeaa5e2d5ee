// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Instructions at another address than their own.
 *
 *	auipc rd		auipc rd; addi rd		the same value, if within 2 GiB
 *	branch			the same, other offset; or the opposite branch over a jal x0
 *	jal x0			jal x0, other offset
 *	jal rd			auipc rd; addi rd; jal x0	rd: what the original links
 *	jalr rd, rs		auipc rd; addi rd; jalr x0, rs	unless rd is rs
 *	all others		themselves
 */
#include "encode.h"
#include "insn.h"

/* Bytes backwards; forwards it is 2 less. */
#define JAL_REACH 0x100000
#define BRANCH_REACH 0x1000

/* An even distance in [-reach, reach). */
static bool reaches(s64 distance, s64 reach)
{
	return distance >= -reach && distance < reach && !(distance & 1);
}

static u32 jal_to(unsigned int rd, unsigned long from, unsigned long to)
{
	s64 distance = (s64)((u64)to - (u64)from);

	return reaches(distance, JAL_REACH) ? make_j(rd, (u32)distance) : 0;
}

u32 insn_jump(unsigned long from, unsigned long to)
{
	return jal_to(0, from, to);
}

u32 insn_call(unsigned long from, unsigned long to)
{
	return jal_to(1, from, to);
}

static void put_bytes(void *out, u32 bits, unsigned int n)
{
	u8 *byte = out;

	while (n--) {
		*byte++ = (u8)bits;
		bits >>= 8;
	}
}

/* The i-th 32-bit instruction of a rewriting. */
static void put(void *out, unsigned int i, u32 bits)
{
	put_bytes((u8 *)out + 4 * i, bits, 4);
}

/* auipc and addi: rd = value, for code at address to. False if that is out of reach. */
static bool put_address(void *out, unsigned int rd, unsigned long to, u64 value)
{
	s64 distance = (s64)(value - to);
	/* addi takes the low 12 bits as signed: the pages before it are rounded to nearest. */
	s64 pages = (s64)((u64)distance + 0x800);

	if (pages != (s64)(s32)pages)
		return false;
	put(out, 0, make_u(OPCODE_AUIPC, rd, (u32)pages));
	put(out, 1, make_i(OPCODE_OP_IMM, 0, rd, rd, (u32)distance));
	return true;
}

static size_t move_branch(u32 full, u64 target, unsigned long to, void *out)
{
	unsigned int funct3 = bits_of(full, 14, 12);
	unsigned int rs1 = insn_rs1(full);
	unsigned int rs2 = insn_rs2(full);
	s64 distance = (s64)(target - to);
	u32 jump;

	if (reaches(distance, BRANCH_REACH)) {
		put(out, 0, make_b(funct3, rs1, rs2, (u32)distance));
		return 4;
	}
	jump = insn_jump(to + 4, target);
	if (!jump)
		return 0;
	put(out, 0, make_b(funct3 ^ 1, rs1, rs2, 8));
	put(out, 1, jump);
	return 8;
}

/* What goes where the original does, behind what has made the link's value: jal or jalr. */
static size_t move_call(const struct insn *insn, unsigned long from, unsigned long to, void *out)
{
	unsigned int rd = insn_rd(insn->full);
	u32 jump;

	if (insn->flow == INSN_CALL)
		jump = insn_jump(to + 8, from + insn->target);
	else if (insn_rs1(insn->full) == rd)
		jump = 0;
	else
		jump = insn->full & ~(31u << 7);
	if (!jump || !put_address(out, rd, to, (u64)from + insn->length))
		return 0;
	put(out, 2, jump);
	return 12;
}

static size_t move_jump(u64 target, unsigned long to, void *out)
{
	u32 jump = insn_jump(to, target);

	if (!jump)
		return 0;
	put(out, 0, jump);
	return 4;
}

static size_t move_auipc(const struct insn *insn, u64 target, unsigned long to, void *out)
{
	unsigned int rd = insn_rd(insn->full);

	if (rd)
		return put_address(out, rd, to, target) ? 8 : 0;
	/* A hint, which changes nothing wherever it stands. */
	put(out, 0, insn->full);
	return 4;
}

size_t insn_move(const struct insn *insn, unsigned long from, unsigned long to, void *out)
{
	u64 target = (u64)from + (u64)insn->target;

	if (insn->policy == INSN_REJECT)
		return 0;
	switch (insn->flow) {
	case INSN_BRANCH:
		return move_branch(insn->full, target, to, out);
	case INSN_JUMP:
		return move_jump(target, to, out);
	case INSN_CALL:
	case INSN_CALL_REG:
		return move_call(insn, from, to, out);
	}
	if (insn->simulate == INSN_SIM_AUIPC)
		return move_auipc(insn, target, to, out);
	put_bytes(out, insn->bits, insn->length);
	return insn->length;
}
