// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Instructions that a hit takes. Of use only if QEMU counts them: one hart, -icount shift=0.
 */
#include "tests.h"

#define ROUNDS 100

static u64 instructions(void)
{
	u64 n;

	asm volatile("csrr %0, instret" : "=r"(n));
	return n;
}

static u64 count(void)
{
	u64 before = instructions();
	unsigned int i;

	for (i = 0; i < ROUNDS; i++)
		t_long(i);
	return instructions() - before;
}

static void print_cost(const char *name, u32 kind, u64 flags, u8 reg)
{
	u64 without;
	struct probe p, *list = &p;

	without = count();
	prepare(&p, t_long, kind, flags);
	p.value_reg = reg;
	probe_arm(&list, 1);
	print(name);
	print(": ");
	print_number((count() - without) / ROUNDS);
	print(" instructions\n");
	take_away(&p);
}

void print_costs(void)
{
	print_cost("entry by jump", PROBE_ENTRY, 0, 0);
	print_cost("entry by ebreak", PROBE_ENTRY, PROBE_FLAG_NO_JUMP, 0);
	print_cost("entry with a value by jump", PROBE_ENTRY, PROBE_FLAG_VALUE, 10);
	print_cost("latency by jump", PROBE_LATENCY, 0, 0);
	print_cost("latency by ebreak", PROBE_LATENCY, PROBE_FLAG_NO_JUMP, 0);
}
