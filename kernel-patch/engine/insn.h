/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Instructions of RV64GC: what a probe can do with each, as one table (insn.c), what they do
 * (simulate.c), and how they move to another address (move.c).
 *
 * Encodings are those of The RISC-V Instruction Set Manual, volume I, "RV32/64G Instruction Set
 * Listings" and "RVC Instruction Set Listings".
 */
#ifndef TRAPLINE_INSN_H
#define TRAPLINE_INSN_H

#include "port.h"
#include "trapframe.h"

enum insn_policy {
	INSN_REJECT, /* neither way */
	INSN_SIMULATE, /* the engine does it; a slot could hold it only rewritten, or not at all */
	INSN_SLOT, /* runs anywhere as it is */
};

/* What an instruction does to the flow, for those who move it or look for what may jump where. */
enum insn_flow {
	INSN_NEXT, /* goes on behind itself */
	INSN_BRANCH, /* to target or on */
	INSN_JUMP, /* to target */
	INSN_CALL, /* to target, with a link register */
	INSN_JUMP_REG, /* to a register's address */
	INSN_CALL_REG, /* the same with a link register */
};

/* Which case of simulate.c does it. One case serves the register and the immediate form. */
enum insn_simulate {
	INSN_SIM_NONE,
	INSN_SIM_LUI,
	INSN_SIM_AUIPC,
	INSN_SIM_JAL,
	INSN_SIM_JALR,
	INSN_SIM_BRANCH,
	INSN_SIM_ADD, /* from here on: rd = rs1 op (rs2 or immediate) */
	INSN_SIM_SUB,
	INSN_SIM_SLT,
	INSN_SIM_SLTU,
	INSN_SIM_XOR,
	INSN_SIM_OR,
	INSN_SIM_AND,
	INSN_SIM_SLL,
	INSN_SIM_SRL,
	INSN_SIM_SRA,
	INSN_SIM_MUL,
	INSN_SIM_ADDW, /* from here on: of the low words, the result sign-extended */
	INSN_SIM_SUBW,
	INSN_SIM_SLLW,
	INSN_SIM_SRLW,
	INSN_SIM_SRAW,
	INSN_SIM_MULW,
};

enum insn_reserve {
	INSN_NO_RESERVATION,
	INSN_LOAD_RESERVED,
	INSN_STORE_CONDITIONAL,
};

struct insn {
	u32 bits; /* the instruction as it is; of a 16-bit one the high half is 0 */
	u32 full; /* the 32-bit instruction that a 16-bit one stands for, else bits; 0 if unknown */
	u8 length; /* 2 or 4, bytes */
	u8 policy; /* enum insn_policy */
	u8 flow; /* enum insn_flow */
	u8 simulate; /* enum insn_simulate; also of many of INSN_SLOT, for a slot out of reach */
	u8 reserve; /* enum insn_reserve */
	bool pc_relative; /* auipc, branches, jal: a slot must hold it rewritten */
	s64 target; /* from the instruction: of INSN_BRANCH, _JUMP, _CALL; of auipc what it adds */
};

/*
 * Decodes the instruction whose first halfword is the low one of bits; the high one counts only if
 * the low one says that it belongs to it. False if it is none that the engine knows: then length is
 * still right (4 for encodings longer than 32 bits, of which no extension has any yet), policy is
 * INSN_REJECT, and it does nothing to the flow that is known.
 */
bool insn_decode(struct insn *insn, u32 bits);

/*
 * Reads the instruction at an address of text, halfword by halfword, so that it need only be
 * aligned to 2 and nothing behind a 16-bit instruction is read.
 */
u32 insn_fetch(const void *text);

/* The 32-bit instruction that a 16-bit one stands for; 0 if it is reserved or none of RV64C. */
u32 insn_expand(u32 bits);

/*
 * Does in tf what the instruction at tf's pc does, moving the pc on. False: it has no simulation,
 * and tf is unchanged.
 */
bool insn_simulate(const struct insn *insn, struct trapframe *tf);

#define INSN_MOVED_MAX 16

/*
 * Writes into out what does at address "to" what the instruction does at "from": itself, or a
 * rewriting. What goes on behind itself falls off the end of out. Gives the bytes written, a
 * multiple of 2, at most INSN_MOVED_MAX; 0 if that can't be: policy INSN_REJECT, out of reach, or
 * no register to spare for a rewriting.
 */
size_t insn_move(const struct insn *insn, unsigned long from, unsigned long to, void *out);

/* jal x0: a jump from one address to another, 4 bytes; 0 if it is too far (1 MiB) or odd. */
u32 insn_jump(unsigned long from, unsigned long to);
/* jal ra: the same with ra as link register. */
u32 insn_call(unsigned long from, unsigned long to);

#define INSN_EBREAK 0x00100073u
#define INSN_C_EBREAK 0x9002u

#endif
