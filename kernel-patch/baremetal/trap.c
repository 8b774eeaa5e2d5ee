// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Traps: a breakpoint goes to the engine, an interrupt between harts is the wish of one to write
 * text.
 */
#include "kernel.h"
#include "probe.h"

#define CAUSE_INTERRUPT 0x8000000000000000ul
#define CAUSE_BREAKPOINT 3
#define CAUSE_SOFTWARE (CAUSE_INTERRUPT | 1)
#define CAUSE_TIMER (CAUSE_INTERRUPT | 5)

#define SIP_SSIP 2

void (*timer_work)(bool may_switch);

/* What is about to be written; where the other hart stands with respect to it. */
static const struct os_edit *parking_edits;
static size_t parking_count;
static int parking; /* 0: go on; 1: wait */
static int parked; /* 1: it waits; -1: it was where it must not be, and went on */

static bool in_pool(unsigned long pc)
{
	return pc >= (unsigned long)__unprobed_end && pc < (unsigned long)__pool_end;
}

/* Whether code at pc may not be stopped there: in a slot, or inside of what is written. */
static bool in_the_way(unsigned long pc)
{
	size_t i;

	if (in_pool(pc))
		return true;
	for (i = 0; i < parking_count; i++) {
		unsigned long start = (unsigned long)parking_edits[i].address;

		if (pc > start && pc < start + parking_edits[i].length)
			return true;
	}
	return false;
}

static void park(unsigned long pc)
{
	asm volatile("csrc sip, %0" : : "r"(SIP_SSIP));
	if (!__atomic_load_n(&parking, __ATOMIC_ACQUIRE))
		return;
	if (in_the_way(pc)) {
		__atomic_store_n(&parked, -1, __ATOMIC_RELEASE);
		return;
	}
	__atomic_store_n(&parked, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&parking, __ATOMIC_ACQUIRE))
		;
	asm volatile("fence.i" : : : "memory");
	__atomic_store_n(&parked, 0, __ATOMIC_RELEASE);
}

static unsigned long other_hart(void)
{
	return 1 - this_hart()->id;
}

void park_other(const struct os_edit *edits, size_t n)
{
	int state;

	if (!harts[other_hart()].task)
		return;
	parking_edits = edits;
	parking_count = n;
	__atomic_store_n(&parking, 1, __ATOMIC_RELEASE);
	do {
		__atomic_store_n(&parked, 0, __ATOMIC_RELEASE);
		interrupt_hart(other_hart());
		do
			state = __atomic_load_n(&parked, __ATOMIC_ACQUIRE);
		while (!state);
	} while (state < 0);
}

void release_other(void)
{
	if (!harts[other_hart()].task)
		return;
	__atomic_store_n(&parking, 0, __ATOMIC_RELEASE);
	while (__atomic_load_n(&parked, __ATOMIC_ACQUIRE))
		;
}

static void die(struct trapframe *tf, u64 cause)
{
	print("trap ");
	print_hex(cause);
	print(" at ");
	print_hex(tf_pc(tf));
	print(" from ");
	print_hex(tf_ra(tf));
	print(", address ");
	print_hex(((u64 *)tf)[PORT_TF_VALUE]);
	print("\n");
	power_off();
}

void trap(struct trapframe *tf)
{
	u64 cause = ((u64 *)tf)[PORT_TF_CAUSE];

	switch (cause) {
	case CAUSE_BREAKPOINT:
		if (!probe_breakpoint(tf))
			die(tf, cause);
		break;
	case CAUSE_SOFTWARE:
		park(tf_pc(tf));
		break;
	case CAUSE_TIMER:
		timer_after(timer_work ? 1000 : 0);
		if (timer_work)
			timer_work(!in_pool(tf_pc(tf)));
		break;
	default:
		die(tf, cause);
	}
}
