// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Whether what the engine did with an instruction is what the processor does.
 */
#include <signal.h>
#include <stdio.h>

#include "refusal.h"
#include "run.h"

#define FAILURES_SHOWN 20

void fail(const struct run *run, const char *what, u64 expected, u64 got)
{
	if (count.failures++ >= FAILURES_SHOWN)
		return;
	printf("FAIL %08x set %u from %#llx to %#llx: %s: expected %#llx, got %#llx\n",
	       run->insn.bits, run->set, run->from, run->to, what, expected, got);
}

static void compare_registers(const struct run *run, const struct state *got, const char *way)
{
	char what[32];
	int i;

	for (i = 1; i < 32; i++) {
		if (run->native.words[i] == got->words[i])
			continue;
		snprintf(what, sizeof(what), "%s: x%d", way, i);
		fail(run, what, run->native.words[i], got->words[i]);
	}
}

static void compare_elsewhere(const struct run *run)
{
	const struct state *want = &run->native, *got = &run->elsewhere;
	int i;

	compare_registers(run, got, "moved");
	/* A fault is at the instruction, wherever that stands. */
	if (want->words[0] != got->words[0] &&
	    (want->words[0] != run->from || got->words[0] != run->to))
		fail(run, "moved: pc", want->words[0], got->words[0]);
	if (want->signal != got->signal)
		fail(run, "moved: signal", want->signal, got->signal);
	if (want->fault != got->fault)
		fail(run, "moved: address of a fault", want->fault, got->fault);
	if (want->fcsr != got->fcsr)
		fail(run, "moved: fcsr", want->fcsr, got->fcsr);
	for (i = 0; i < 32; i++)
		if (want->fregs[i] != got->fregs[i])
			fail(run, "moved: floating-point register", want->fregs[i], got->fregs[i]);
	for (i = 0; i < WINDOW && run->operand; i++)
		if (want->window[i] != got->window[i])
			fail(run, "moved: memory", want->window[i], got->window[i]);
}

void compare(const struct run *run)
{
	struct state simulated = run->before;

	count.native++;
	if (run->native.signal == SIGILL)
		fail(run, "native: illegal instruction", 0, run->native.words[0]);
	if (run->moved) {
		count.moved++;
		compare_elsewhere(run);
	} else if (!may_refuse_move(&run->insn, run->from, run->to)) {
		fail(run, "not moved", 0, 0);
	}
	if (!run->insn.simulate)
		return;
	count.simulated++;
	if (!insn_simulate(&run->insn, (struct trapframe *)simulated.words))
		fail(run, "not simulated", 0, 0);
	compare_registers(run, &simulated, "simulated");
	if (run->native.words[0] != simulated.words[0])
		fail(run, "simulated: pc", run->native.words[0], simulated.words[0]);
}
