/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Instructions of RV64GC: what a probe can do with each, as one table (insn.c), and what they do (simulate.c).
 */
#ifndef TRAPLINE_INSN_H
#define TRAPLINE_INSN_H

#include "port.h"
#include "trapframe.h"

enum insn_policy {
	INSN_REJECT, /* neither way */
	INSN_SIMULATE, /* the engine does what it does; a slot could hold it only rewritten, or not at all */
	INSN_SLOT, /* runs anywhere as it is */
};

/* What an instruction does to the flow, for those who move it or scan for what may jump where. */
enum insn_flow {
	INSN_NEXT, /* goes on behind itself */
	INSN_BRANCH, /* to target or on */
	INSN_JUMP, /* to target */
	INSN_CALL, /* to target, with a link register */
	INSN_JUMP_REG, /* to a register's address */
	INSN_CALL_REG, /* the same with a link register */
};

struct insn {
	u32 bits; /* of a 16-bit instruction: those */
	u8 length; /* 2 or 4 */
	u8 policy; /* enum insn_policy */
	u8 flow; /* enum insn_flow */
	u8 simulate; /* enum insn_simulate: which case of simulate.c; 0 none. Also set for many of policy INSN_SLOT, where a slot is out of reach */
	u8 reserve; /* 1: LR, 2: SC */
	u8 pc_relative; /* auipc, branches, jal: a slot must rewrite it */
	s64 target; /* relative to the instruction: of INSN_BRANCH, INSN_JUMP, INSN_CALL, and of auipc what it adds */
};

/* Decodes the instruction whose first halfword is the low one of bits; the high one counts only if its length says so. False if it is
 * none of RV64GC that the engine knows: then length is still right, and policy INSN_REJECT. */
bool insn_decode(struct insn *insn, u32 bits);

/* Reads the instruction at an address of kernel text, halfword by halfword. */
u32 insn_fetch(const void *text);

/* Does in tf what the instruction at tf's pc does, moving the pc on. False: it has no simulation, and tf is unchanged. */
bool insn_simulate(const struct insn *insn, struct trapframe *tf);

#define INSN_MOVED_MAX 16

/*
 * Writes into out what does at address "to" what the instruction does at "from": itself, or a rewriting. What goes on behind itself falls off the
 * end of out. Gives the bytes written, a multiple of 2, at most INSN_MOVED_MAX; 0 if that can't be (out of reach, or it has no rewriting).
 * compressed: 16-bit instructions may be used.
 */
size_t insn_move(const struct insn *insn, unsigned long from, unsigned long to, void *out);

/* A jump from one address to another without a link, 4 bytes; 0 if it is too far (1 MiB). */
u32 insn_jump(unsigned long from, unsigned long to);
/* The same with link register ra. */
u32 insn_call(unsigned long from, unsigned long to);

#define INSN_EBREAK 0x00100073u
#define INSN_C_EBREAK 0x9002u

#endif
