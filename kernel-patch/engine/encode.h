/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fields of 32-bit instructions, read and built. Private to insn.c, compressed.c, simulate.c,
 * move.c and place.c.
 *
 *	type	31     25 24  20 19  15 14  12 11       7 6    0
 *	R	funct7    rs2    rs1    funct3 rd         opcode
 *	I	imm[11:0]        rs1    funct3 rd         opcode
 *	S	imm[11:5] rs2    rs1    funct3 imm[4:0]   opcode
 *	B	imm[12|10:5] rs2 rs1    funct3 imm[4:1|11] opcode
 *	U	imm[31:12]                     rd         opcode
 *	J	imm[20|10:1|11|19:12]          rd         opcode
 */
#ifndef TRAPLINE_ENCODE_H
#define TRAPLINE_ENCODE_H

#include "port.h"

/* Major opcodes, the low 7 bits. */
#define OPCODE_LOAD 0x03u
#define OPCODE_LOAD_FP 0x07u
#define OPCODE_OP_IMM 0x13u
#define OPCODE_AUIPC 0x17u
#define OPCODE_OP_IMM_32 0x1bu
#define OPCODE_STORE 0x23u
#define OPCODE_STORE_FP 0x27u
#define OPCODE_OP 0x33u
#define OPCODE_LUI 0x37u
#define OPCODE_OP_32 0x3bu
#define OPCODE_BRANCH 0x63u
#define OPCODE_JALR 0x67u
#define OPCODE_JAL 0x6fu

/* Bits high to low of a word, at the bottom. */
static inline u32 bits_of(u32 word, unsigned int high, unsigned int low)
{
	return (word >> low) & ((2u << (high - low)) - 1);
}

/* The low n bits of a value, below 32 of them, sign-extended. */
static inline s64 sign_extend(u32 value, unsigned int n)
{
	u32 sign = 1u << (n - 1);

	value &= (sign << 1) - 1;
	return (s64)(value ^ sign) - (s64)sign;
}

static inline unsigned int insn_rd(u32 bits)
{
	return bits_of(bits, 11, 7);
}

static inline unsigned int insn_rs1(u32 bits)
{
	return bits_of(bits, 19, 15);
}

static inline unsigned int insn_rs2(u32 bits)
{
	return bits_of(bits, 24, 20);
}

static inline s64 insn_imm_i(u32 bits)
{
	return sign_extend(bits_of(bits, 31, 20), 12);
}

static inline s64 insn_imm_b(u32 bits)
{
	return sign_extend(bits_of(bits, 31, 31) << 12 | bits_of(bits, 7, 7) << 11 |
			   bits_of(bits, 30, 25) << 5 | bits_of(bits, 11, 8) << 1, 13);
}

static inline s64 insn_imm_u(u32 bits)
{
	return (s64)(s32)(bits & 0xfffff000u);
}

static inline s64 insn_imm_j(u32 bits)
{
	return sign_extend(bits_of(bits, 31, 31) << 20 | bits_of(bits, 19, 12) << 12 |
			   bits_of(bits, 20, 20) << 11 | bits_of(bits, 30, 21) << 1, 21);
}

/* Builders. Immediates that do not fit are cut: callers check their reach first. */
static inline u32 make_r(u32 base, unsigned int rd, unsigned int rs1, unsigned int rs2)
{
	return base | rd << 7 | rs1 << 15 | rs2 << 20;
}

static inline u32 make_i(u32 opcode, unsigned int funct3, unsigned int rd, unsigned int rs1,
			 u32 imm)
{
	return opcode | funct3 << 12 | rd << 7 | rs1 << 15 | imm << 20;
}

static inline u32 make_s(u32 opcode, unsigned int funct3, unsigned int rs1, unsigned int rs2,
			 u32 imm)
{
	return opcode | funct3 << 12 | rs1 << 15 | rs2 << 20 | bits_of(imm, 4, 0) << 7 |
	       bits_of(imm, 11, 5) << 25;
}

static inline u32 make_b(unsigned int funct3, unsigned int rs1, unsigned int rs2, u32 imm)
{
	return OPCODE_BRANCH | funct3 << 12 | rs1 << 15 | rs2 << 20 | bits_of(imm, 11, 11) << 7 |
	       bits_of(imm, 4, 1) << 8 | bits_of(imm, 10, 5) << 25 | bits_of(imm, 12, 12) << 31;
}

static inline u32 make_u(u32 opcode, unsigned int rd, u32 imm)
{
	return opcode | rd << 7 | (imm & 0xfffff000u);
}

static inline u32 make_j(unsigned int rd, u32 imm)
{
	return OPCODE_JAL | rd << 7 | bits_of(imm, 19, 12) << 12 | bits_of(imm, 11, 11) << 20 |
	       bits_of(imm, 10, 1) << 21 | bits_of(imm, 20, 20) << 31;
}

#endif
