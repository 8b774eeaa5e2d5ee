// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Both harts come here: the first one runs the tests, with the second one's help if there is
 * one.
 */
#include "tests.h"

#define SIE_SSIE 2
#define SIE_STIE 32
#define SSTATUS_SIE 2

static struct task tasks[PORT_HARTS];
static int begun;

static bool second_hart(unsigned long id)
{
	u64 start, now;

	start_hart(id, (unsigned long)second_entry);
	asm volatile("csrr %0, time" : "=r"(start));
	do
		asm volatile("csrr %0, time" : "=r"(now));
	while (!__atomic_load_n(&harts[id].task, __ATOMIC_ACQUIRE) && now - start < 10000000);
	return harts[id].task;
}

void main(unsigned long id)
{
	struct hart *hart = this_hart();

	hart->id = id;
	paging_on();
	asm volatile("csrw sie, %0" : : "r"(SIE_SSIE | SIE_STIE));
	asm volatile("csrs sstatus, %0" : : "r"(SSTATUS_SIE));
	__atomic_store_n(&hart->task, &tasks[id], __ATOMIC_RELEASE);
	if (__atomic_exchange_n(&begun, 1, __ATOMIC_ACQ_REL)) {
		other_loop();
		return;
	}
	timer_after(0);
	if (probe_init()) {
		print("probe_init failed\n");
		power_off();
	}
	if (second_hart(1 - id))
		run_tests();
	else
		print_costs();
	power_off();
}
