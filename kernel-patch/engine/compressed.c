// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The 16-bit instructions of RV64C (with those of C.D), each as the 32-bit one it stands for.
 *
 * An encoding that the manual calls reserved, or that only a later extension uses (Zcb, Zcmop),
 * gives 0. One that it calls a hint stands for an instruction that changes nothing.
 */
#include "encode.h"
#include "insn.h"

#define X_ZERO 0u
#define X_RA 1u
#define X_SP 2u

#define WIDTH_WORD 2u
#define WIDTH_DOUBLE 3u

/* Bases of R-type instructions: funct7, funct3 and opcode. */
#define BASE_ADD 0x00000033u
#define BASE_SUB 0x40000033u
#define BASE_XOR 0x00004033u
#define BASE_OR 0x00006033u
#define BASE_AND 0x00007033u
#define BASE_ADDW 0x0000003bu
#define BASE_SUBW 0x4000003bu

/* Register fields of 3 bits name x8 to x15. */
static unsigned int short_reg(u32 c, unsigned int low)
{
	return 8 + bits_of(c, low + 2, low);
}

/* imm[5] at bit 12 and imm[4:0] at bits 6 to 2: c.addi, c.li, shifts, and c.lui in pages. */
static u32 imm6(u32 c)
{
	return bits_of(c, 12, 12) << 5 | bits_of(c, 6, 2);
}

static u32 signed_imm6(u32 c)
{
	return (u32)sign_extend(imm6(c), 6);
}

/* Offsets of loads and stores: scaled by their width, not signed. */
static u32 offset_word(u32 c)
{
	return bits_of(c, 12, 10) << 3 | bits_of(c, 6, 6) << 2 | bits_of(c, 5, 5) << 6;
}

static u32 offset_double(u32 c)
{
	return bits_of(c, 12, 10) << 3 | bits_of(c, 6, 5) << 6;
}

static u32 offset_word_sp(u32 c)
{
	return bits_of(c, 12, 12) << 5 | bits_of(c, 6, 4) << 2 | bits_of(c, 3, 2) << 6;
}

static u32 offset_double_sp(u32 c)
{
	return bits_of(c, 12, 12) << 5 | bits_of(c, 6, 5) << 3 | bits_of(c, 4, 2) << 6;
}

static u32 store_offset_word_sp(u32 c)
{
	return bits_of(c, 12, 9) << 2 | bits_of(c, 8, 7) << 6;
}

static u32 store_offset_double_sp(u32 c)
{
	return bits_of(c, 12, 10) << 3 | bits_of(c, 9, 7) << 6;
}

/* Offsets of jumps and branches. */
static u32 offset_j(u32 c)
{
	return (u32)sign_extend(bits_of(c, 12, 12) << 11 | bits_of(c, 11, 11) << 4 |
				bits_of(c, 10, 9) << 8 | bits_of(c, 8, 8) << 10 |
				bits_of(c, 7, 7) << 6 | bits_of(c, 6, 6) << 7 |
				bits_of(c, 5, 3) << 1 | bits_of(c, 2, 2) << 5, 12);
}

static u32 offset_b(u32 c)
{
	return (u32)sign_extend(bits_of(c, 12, 12) << 8 | bits_of(c, 11, 10) << 3 |
				bits_of(c, 6, 5) << 6 | bits_of(c, 4, 3) << 1 |
				bits_of(c, 2, 2) << 5, 9);
}

/* Loads and stores of x8 to x15; c.addi4spn. */
static u32 quadrant_0(u32 c)
{
	unsigned int reg = short_reg(c, 2);
	unsigned int base = short_reg(c, 7);
	u32 imm;

	switch (bits_of(c, 15, 13)) {
	case 0: /* c.addi4spn */
		imm = bits_of(c, 12, 11) << 4 | bits_of(c, 10, 7) << 6 | bits_of(c, 6, 6) << 2 |
		      bits_of(c, 5, 5) << 3;
		return imm ? make_i(OPCODE_OP_IMM, 0, reg, X_SP, imm) : 0;
	case 1: /* c.fld */
		return make_i(OPCODE_LOAD_FP, WIDTH_DOUBLE, reg, base, offset_double(c));
	case 2: /* c.lw */
		return make_i(OPCODE_LOAD, WIDTH_WORD, reg, base, offset_word(c));
	case 3: /* c.ld */
		return make_i(OPCODE_LOAD, WIDTH_DOUBLE, reg, base, offset_double(c));
	case 5: /* c.fsd */
		return make_s(OPCODE_STORE_FP, WIDTH_DOUBLE, base, reg, offset_double(c));
	case 6: /* c.sw */
		return make_s(OPCODE_STORE, WIDTH_WORD, base, reg, offset_word(c));
	case 7: /* c.sd */
		return make_s(OPCODE_STORE, WIDTH_DOUBLE, base, reg, offset_double(c));
	}
	return 0;
}

static u32 add_to_sp_or_lui(u32 c)
{
	unsigned int rd = insn_rd(c);
	u32 imm;

	if (!imm6(c))
		return 0;
	if (rd != X_SP) /* c.lui */
		return make_u(OPCODE_LUI, rd, signed_imm6(c) << 12);
	imm = bits_of(c, 12, 12) << 9 | bits_of(c, 6, 6) << 4 | bits_of(c, 5, 5) << 6 |
	      bits_of(c, 4, 3) << 7 | bits_of(c, 2, 2) << 5;
	return make_i(OPCODE_OP_IMM, 0, X_SP, X_SP, (u32)sign_extend(imm, 10)); /* c.addi16sp */
}

/* Arithmetic of x8 to x15 with themselves. */
static u32 arithmetic(u32 c)
{
	static const u32 base[8] = {
		BASE_SUB, BASE_XOR, BASE_OR, BASE_AND, BASE_SUBW, BASE_ADDW, 0, 0
	};
	unsigned int rd = short_reg(c, 7);
	u32 which;

	switch (bits_of(c, 11, 10)) {
	case 0: /* c.srli */
		return make_i(OPCODE_OP_IMM, 5, rd, rd, imm6(c));
	case 1: /* c.srai */
		return make_i(OPCODE_OP_IMM, 5, rd, rd, 0x400 | imm6(c));
	case 2: /* c.andi */
		return make_i(OPCODE_OP_IMM, 7, rd, rd, signed_imm6(c));
	}
	which = bits_of(c, 12, 12) << 2 | bits_of(c, 6, 5);
	return base[which] ? make_r(base[which], rd, rd, short_reg(c, 2)) : 0;
}

static u32 quadrant_1(u32 c)
{
	unsigned int rd = insn_rd(c);

	switch (bits_of(c, 15, 13)) {
	case 0: /* c.addi, c.nop */
		return make_i(OPCODE_OP_IMM, 0, rd, rd, signed_imm6(c));
	case 1: /* c.addiw */
		return rd ? make_i(OPCODE_OP_IMM_32, 0, rd, rd, signed_imm6(c)) : 0;
	case 2: /* c.li */
		return make_i(OPCODE_OP_IMM, 0, rd, X_ZERO, signed_imm6(c));
	case 3: /* c.addi16sp, c.lui */
		return add_to_sp_or_lui(c);
	case 4:
		return arithmetic(c);
	case 5: /* c.j */
		return make_j(X_ZERO, offset_j(c));
	case 6: /* c.beqz */
		return make_b(0, short_reg(c, 7), X_ZERO, offset_b(c));
	case 7: /* c.bnez */
		return make_b(1, short_reg(c, 7), X_ZERO, offset_b(c));
	}
	return 0;
}

static u32 jump_move_or_add(u32 c)
{
	unsigned int rd = insn_rd(c);
	unsigned int rs2 = bits_of(c, 6, 2);
	bool second = bits_of(c, 12, 12) != 0;

	if (rs2) /* c.add, c.mv */
		return make_r(BASE_ADD, rd, second ? rd : X_ZERO, rs2);
	if (rd) /* c.jalr, c.jr */
		return make_i(OPCODE_JALR, 0, second ? X_RA : X_ZERO, rd, 0);
	return second ? INSN_EBREAK : 0; /* c.ebreak */
}

/* What names any register, and loads and stores on the stack. */
static u32 quadrant_2(u32 c)
{
	unsigned int rd = insn_rd(c);
	unsigned int rs2 = bits_of(c, 6, 2);

	switch (bits_of(c, 15, 13)) {
	case 0: /* c.slli */
		return make_i(OPCODE_OP_IMM, 1, rd, rd, imm6(c));
	case 1: /* c.fldsp */
		return make_i(OPCODE_LOAD_FP, WIDTH_DOUBLE, rd, X_SP, offset_double_sp(c));
	case 2: /* c.lwsp */
		return rd ? make_i(OPCODE_LOAD, WIDTH_WORD, rd, X_SP, offset_word_sp(c)) : 0;
	case 3: /* c.ldsp */
		return rd ? make_i(OPCODE_LOAD, WIDTH_DOUBLE, rd, X_SP, offset_double_sp(c)) : 0;
	case 4:
		return jump_move_or_add(c);
	case 5: /* c.fsdsp */
		return make_s(OPCODE_STORE_FP, WIDTH_DOUBLE, X_SP, rs2, store_offset_double_sp(c));
	case 6: /* c.swsp */
		return make_s(OPCODE_STORE, WIDTH_WORD, X_SP, rs2, store_offset_word_sp(c));
	case 7: /* c.sdsp */
		return make_s(OPCODE_STORE, WIDTH_DOUBLE, X_SP, rs2, store_offset_double_sp(c));
	}
	return 0;
}

u32 insn_expand(u32 bits)
{
	switch (bits & 3) {
	case 0:
		return quadrant_0(bits);
	case 1:
		return quadrant_1(bits);
	case 2:
		return quadrant_2(bits);
	}
	return 0;
}
