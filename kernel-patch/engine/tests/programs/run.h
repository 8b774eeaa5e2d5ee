/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the parts of execute share: a run of an instruction, and its memory.
 */
#ifndef TRAPLINE_RUN_H
#define TRAPLINE_RUN_H

#include "insn.h"

#define SEA_BASE 0x100000000ull /* of all executable memory under test */
#define SEA_EMPTY 0x100000ull /* bytes at its begin that never hold an instruction */

#define SCRATCH_SIZE 0x10000
#define WINDOW 4 /* doublewords around an operand in memory */

/* What a run begins with, and what it ended with. */
struct state {
	u64 words[PORT_TF_WORDS]; /* as a trap frame */
	u64 fregs[32];
	u32 fcsr;
	int signal;
	u64 fault; /* address, of a SIGSEGV or SIGBUS */
	u64 window[WINDOW];
};

struct run {
	struct insn insn;
	unsigned int set;
	unsigned int deferred;
	u64 from;
	u64 to;
	size_t moved; /* bytes at to; 0: not moved */
	u64 operand; /* address in memory, or 0 */
	struct state before;
	struct state native;
	struct state elsewhere;
};

extern u8 *scratch, *pristine; /* memory for operands, and how it is between runs */
extern u64 random_state;

struct counts {
	unsigned long words, native, moved, simulated, skipped, failures, batches;
};

extern struct counts count;

/* By the linker: where this program's own text is. */
extern char __executable_start, etext;

/* registers.c */
u64 next_random(void);
u64 random_below(u64 n);
/* Values where arithmetic has its edges, small ones, and any. */
u64 random_value(void);
/* All registers of a run, so that it finds its operands, and goes where it may. */
void choose_registers(struct run *run);

/* compare.c */
void fail(const struct run *run, const char *what, u64 expected, u64 got);
/* Compares what came of a run, native, moved and simulated. */
void compare(const struct run *run);

#endif
