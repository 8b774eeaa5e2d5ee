// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What instructions do to the registers. Each works on the 32-bit form; only how far the pc moves,
 * and so what a call leaves as its link, is the length of the instruction itself.
 */
#include "encode.h"
#include "insn.h"

#define OPCODE_BIT_REGISTER 0x20u /* tells OP from OP-IMM, and OP-32 from OP-IMM-32 */

static bool branch_taken(unsigned int funct3, u64 a, u64 b)
{
	bool yes;

	switch (funct3 & 6) {
	case 0:
		yes = a == b;
		break;
	case 4:
		yes = (s64)a < (s64)b;
		break;
	default:
		yes = a < b;
		break;
	}
	return yes != (funct3 & 1);
}

static u64 arithmetic(unsigned int op, u64 a, u64 b)
{
	switch (op) {
	case INSN_SIM_ADD:
		return a + b;
	case INSN_SIM_SUB:
		return a - b;
	case INSN_SIM_SLT:
		return (s64)a < (s64)b;
	case INSN_SIM_SLTU:
		return a < b;
	case INSN_SIM_XOR:
		return a ^ b;
	case INSN_SIM_OR:
		return a | b;
	case INSN_SIM_AND:
		return a & b;
	case INSN_SIM_SLL:
		return a << (b & 63);
	case INSN_SIM_SRL:
		return a >> (b & 63);
	case INSN_SIM_SRA:
		return (u64)((s64)a >> (b & 63));
	default: /* INSN_SIM_MUL */
		return a * b;
	}
}

static u64 arithmetic_word(unsigned int op, u32 a, u32 b)
{
	u32 word;

	switch (op) {
	case INSN_SIM_ADDW:
		word = a + b;
		break;
	case INSN_SIM_SUBW:
		word = a - b;
		break;
	case INSN_SIM_SLLW:
		word = a << (b & 31);
		break;
	case INSN_SIM_SRLW:
		word = a >> (b & 31);
		break;
	case INSN_SIM_SRAW:
		word = (u32)((s32)a >> (b & 31));
		break;
	default: /* INSN_SIM_MULW */
		word = a * b;
		break;
	}
	return (u64)(s64)(s32)word;
}

bool insn_simulate(const struct insn *insn, struct trapframe *tf)
{
	u32 full = insn->full;
	unsigned int rd = insn_rd(full);
	u64 pc = tf_pc(tf);
	u64 next = pc + insn->length;
	/* Read before anything is written: rd may be one of them. */
	u64 a = tf_reg(tf, insn_rs1(full));
	u64 b = tf_reg(tf, insn_rs2(full));

	switch (insn->simulate) {
	case INSN_SIM_NONE:
		return false;
	case INSN_SIM_LUI:
		tf_set_reg(tf, rd, (u64)insn_imm_u(full));
		break;
	case INSN_SIM_AUIPC:
		tf_set_reg(tf, rd, pc + (u64)insn->target);
		break;
	case INSN_SIM_JAL:
		tf_set_reg(tf, rd, next);
		next = pc + (u64)insn->target;
		break;
	case INSN_SIM_JALR:
		tf_set_reg(tf, rd, next);
		next = (a + (u64)insn_imm_i(full)) & ~1ull;
		break;
	case INSN_SIM_BRANCH:
		if (branch_taken(bits_of(full, 14, 12), a, b))
			next = pc + (u64)insn->target;
		break;
	default:
		if (!(full & OPCODE_BIT_REGISTER))
			b = (u64)insn_imm_i(full);
		if (insn->simulate < INSN_SIM_ADDW)
			tf_set_reg(tf, rd, arithmetic(insn->simulate, a, b));
		else
			tf_set_reg(tf, rd, arithmetic_word(insn->simulate, (u32)a, (u32)b));
		break;
	}
	tf_set_pc(tf, next);
	return true;
}
