// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Both harts at once, and interrupts.
 */
#include "tests.h"

#define CALLS 5000

static int stop;
static u64 other_calls;

static u64 call_many(unsigned int n)
{
	unsigned int i;
	u64 wrong = 0;

	for (i = 0; i < n; i++) {
		wrong += t_short(i) != i + 1000;
		wrong += t_long(i) != i + 1000;
		wrong += t_auipc(i) != i + 1000;
		wrong += t_loop(i) != i + 1000;
		wrong += t_far(i) != i + 1000;
		wrong += t_mixed(i) != i + 1000;
	}
	return wrong;
}

static u64 other_wrong;

static void other_many(void)
{
	other_wrong = call_many(CALLS);
}

static void other_until_stopped(void)
{
	other_calls = 0;
	other_wrong = 0;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		other_wrong += call_many(1);
		other_calls++;
	}
}

static function *const many[] = { t_short, t_long, t_auipc, t_loop, t_far, t_mixed };

#define MANY ARRAY_SIZE(many)

static void both_harts(void)
{
	struct probe entry[MANY], latency[MANY];
	unsigned int i, way;

	for (way = 0; way < 2; way++) {
		for (i = 0; i < MANY; i++) {
			place(&entry[i], many[i], PROBE_ENTRY, way ? PROBE_FLAG_NO_JUMP : 0);
			place(&latency[i], many[i], PROBE_LATENCY, 0);
		}
		other_run(other_many);
		CHECK(call_many(CALLS), 0);
		other_wait();
		CHECK(other_wrong, 0);
		for (i = 0; i < MANY; i++) {
			CHECK(sum_of(&entry[i]).count, 2 * CALLS);
			CHECK(sum_of(&latency[i]).count, 2 * CALLS);
			CHECK(sum_of(&latency[i]).started, 2 * CALLS);
			CHECK(sum_of(&latency[i]).missed, 0);
			take_away(&entry[i]);
			take_away(&latency[i]);
		}
	}
}

#define ROUNDS 100
#define AT_ONCE 8

/* Places and removes probes, several at one address among them. */
static void place_and_remove(void)
{
	static struct probe probes[AT_ONCE];
	bool placed[AT_ONCE] = { 0 };
	unsigned int i;

	for (i = 0; i < ROUNDS + AT_ONCE; i++) {
		unsigned int n = i < ROUNDS ? random_number() % AT_ONCE : i - ROUNDS;
		struct probe *p = &probes[n];

		if (placed[n]) {
			CHECK(sum_of(p).missed, 0);
			take_away(p);
			/* Memory of a probe is reused at once. */
			memset(p, 0xee, sizeof(*p));
		} else if (i < ROUNDS) {
			place(p, many[random_number() % MANY], 1 + random_number() % 3,
			      random_number() & 1 ? PROBE_FLAG_NO_JUMP : 0);
		}
		placed[n] = !placed[n];
	}
}

/* Placed and removed while the other hart runs there. */
static void under_fire(void)
{
	stop = 0;
	other_run(other_until_stopped);
	place_and_remove();
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	other_wait();
	CHECK(other_wrong, 0);
	CHECK(other_calls > 0, true);
	CHECK(harts[0].task->probe.calls == 0 && harts[1].task->probe.calls == 0, true);
}

static u64 interrupts, wrong_in_interrupt;

/* In the timer's interrupt, whatever it interrupted. */
static void work_in_interrupt(bool may_switch)
{
	(void)may_switch;
	interrupts++;
	wrong_in_interrupt += t_short(5) != 1005;
	wrong_in_interrupt += t_long(5) != 1005;
}

static void interrupted(void)
{
	struct probe entry, latency, both;
	u64 calls = 0;

	place(&entry, t_short, PROBE_ENTRY, 0);
	place(&latency, t_long, PROBE_LATENCY, 0);
	place(&both, t_long, PROBE_ENTRY, PROBE_FLAG_NO_JUMP);
	interrupts = 0;
	wrong_in_interrupt = 0;
	__atomic_store_n(&timer_work, work_in_interrupt, __ATOMIC_RELEASE);
	timer_after(1000);
	while (__atomic_load_n(&interrupts, __ATOMIC_RELAXED) < 200) {
		CHECK(t_short(7), 1007);
		CHECK(t_long(7), 1007);
		calls++;
	}
	__atomic_store_n(&timer_work, 0, __ATOMIC_RELEASE);
	timer_after(0);
	CHECK(wrong_in_interrupt, 0);
	CHECK(sum_of(&entry).count, calls + interrupts);
	CHECK(sum_of(&entry).missed, 0);
	CHECK(sum_of(&latency).count, calls + interrupts);
	CHECK(sum_of(&latency).missed, 0);
	CHECK(sum_of(&both).count, calls + interrupts);
	take_away(&entry);
	take_away(&latency);
	take_away(&both);
}

static struct task second_task;
static struct task *first_task;
static u64 second_calls, second_wrong, switches;

/* Never gives the hart away by itself. */
static void run_second(void)
{
	asm volatile("csrsi sstatus, 2");
	for (;;) {
		second_wrong += call_many(1);
		second_calls++;
	}
}

static void switch_in_interrupt(bool may_switch)
{
	if (!may_switch)
		return;
	switches++;
	task_switch(this_hart()->task == first_task ? &second_task : first_task);
}

/* Tasks are taken off the hart anywhere but in a slot, also between two instructions. */
static void preempted(void)
{
	static char stack[STACK_SIZE] __aligned(STACK_SIZE);

	first_task = this_hart()->task;
	second_task.stack = stack;
	task_make(&second_task, run_second);
	second_calls = 0;
	second_wrong = 0;
	switches = 0;
	preemptible = true;
	stop = 0;
	other_run(other_until_stopped);
	__atomic_store_n(&timer_work, switch_in_interrupt, __ATOMIC_RELEASE);
	timer_after(1000);
	while (__atomic_load_n(&switches, __ATOMIC_RELAXED) < 10) {
		place_and_remove();
		CHECK(call_many(1), 0);
	}
	__atomic_store_n(&timer_work, 0, __ATOMIC_RELEASE);
	timer_after(0);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	other_wait();
	preemptible = false;
	CHECK(this_hart()->task == first_task, true);
	CHECK(other_wrong, 0);
	CHECK(second_wrong, 0);
	CHECK(second_calls > 0, true);
	probe_task_end(&second_task.probe);
}

const struct test hart_tests[] = {
	{ "both harts", both_harts },
	{ "placed and removed under fire", under_fire },
	{ "interrupts", interrupted },
	{ "preempted tasks", preempted },
	{ 0 },
};
