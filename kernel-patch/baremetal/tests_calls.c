// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Return addresses: recursion, tail calls, calls that sleep, and those that never return.
 */
#include "tests.h"

/* Takes so many ticks of the test's clock, 100 ns each. */
static noinline s64 takes(u64 ticks, s64 result)
{
	test_clock += ticks;
	asm volatile("" : "+r"(result));
	return result;
}

static void statistics(void)
{
	static const u64 ticks[] = { 1, 2, 3, 1000, 20, 0, 7 };
	u64 total = 0, hist[PROBE_BUCKETS] = { 0 };
	unsigned int i, b, way;
	struct probe_stats sum;
	struct probe p;

	for (way = 0; way < 2; way++) {
		test_clock = 1;
		total = 0;
		memset(hist, 0, sizeof(hist));
		place(&p, takes, PROBE_LATENCY,
		      PROBE_FLAG_ERRORS | PROBE_FLAG_CPU_TIME | (way ? PROBE_FLAG_NO_JUMP : 0));
		for (i = 0; i < 7; i++) {
			static const s64 results[] = { 0, -1, -4095, -4096, 5, -22, 4095 };
			u64 ns = ticks[i] * 100;

			CHECK(takes(ticks[i], results[i]), results[i]);
			for (b = 0; ns >> b; b++)
				;
			hist[b]++;
			total += ns;
		}
		test_clock = 0;
		sum = sum_of(&p);
		CHECK(sum.count, 7);
		CHECK(sum.started, 7);
		CHECK(sum.total, total);
		CHECK(sum.cpu, total);
		CHECK(sum.min, 0);
		CHECK(sum.max, 100000);
		CHECK(sum.errors, 3);
		CHECK(sum.missed, 0);
		CHECK(sum.nested, 0);
		for (b = 0; b < PROBE_BUCKETS; b++)
			CHECK(sum.hist[b], hist[b]);
		take_away(&p);
	}
}

static noinline u64 factorial(u64 n)
{
	u64 rest;

	test_clock += 1;
	if (n < 2)
		return 1;
	rest = factorial(n - 1);
	asm volatile("" : "+r"(rest));
	return n * rest;
}

static void recursion(void)
{
	struct probe_stats sum;
	struct probe p, entry;
	unsigned int way;

	for (way = 0; way < 2; way++) {
		u64 flags = way ? PROBE_FLAG_NO_JUMP : 0;

		test_clock = 1;
		place(&p, factorial, PROBE_LATENCY, flags);
		CHECK(factorial(10), 3628800);
		sum = sum_of(&p);
		CHECK(sum.count, 10);
		/* 100 + 200 + … + 1000 */
		CHECK(sum.total, 5500);
		CHECK(sum.min, 100);
		CHECK(sum.max, 1000);
		CHECK(sum.nested, 45);
		place(&entry, factorial, PROBE_ENTRY, flags);
		CHECK(factorial(10), 3628800);
		CHECK(sum_of(&p).count, 20);
		CHECK(sum_of(&entry).count, 10);
		take_away(&p);
		take_away(&entry);
		test_clock = 0;
	}
}

static void no_room(void)
{
	struct probe p = { .address = (unsigned long)factorial,
			   .kind = PROBE_LATENCY,
			   .active = 3 };
	struct probe *list[] = { &p };
	struct probe_refusal why;

	CHECK(probe_prepare(&p, &why), 0);
	CHECK(probe_arm(list, 1), 0);
	CHECK(factorial(10), 3628800);
	CHECK(sum_of(&p).count, 3);
	CHECK(sum_of(&p).started, 3);
	CHECK(sum_of(&p).missed, 7);
	CHECK(factorial(3), 6);
	CHECK(sum_of(&p).count, 6);
	take_away(&p);
}

/* Both have their return address replaced, the second one that of the first. */
static void tail_call(void)
{
	struct probe outer, inner;

	place(&outer, t_tail, PROBE_LATENCY, 0);
	place(&inner, t_long, PROBE_RETURN, 0);
	CHECK(t_tail(5), 1005);
	CHECK(sum_of(&outer).count, 1);
	CHECK(sum_of(&inner).count, 1);
	CHECK(t_tail(5), 1005);
	CHECK(sum_of(&outer).count, 2);
	take_away(&inner);
	CHECK(t_tail(5), 1005);
	CHECK(sum_of(&outer).count, 3);
	take_away(&outer);
}

static struct task sleeper;
static struct task *starter;
static u64 slept;

/* Switches to the other task, and goes on when that switches back. */
static noinline u64 sleeps(u64 n)
{
	task_switch(starter);
	asm volatile("" : "+r"(n));
	return n + 1;
}

static void run_sleeper(void)
{
	for (;;) {
		slept = sleeps(slept);
		task_switch(starter);
	}
}

static void begin_sleeper(void)
{
	static char stack[STACK_SIZE] __aligned(STACK_SIZE);

	starter = this_hart()->task;
	sleeper.stack = stack;
	task_make(&sleeper, run_sleeper);
	slept = 0;
}

static void other_task(void)
{
	struct probe p, inner;

	begin_sleeper();
	test_clock = 1;
	place(&p, sleeps, PROBE_LATENCY, 0);
	place(&inner, takes, PROBE_LATENCY, 0);
	task_switch(&sleeper);
	/* Calls of this task meanwhile are none of the sleeper's. */
	CHECK(takes(50, 9), 9);
	task_switch(&sleeper);
	test_clock = 0;
	CHECK(slept, 1);
	CHECK(sum_of(&p).count, 1);
	CHECK(sum_of(&p).total, 5000);
	CHECK(sum_of(&p).nested, 0);
	CHECK(sum_of(&inner).total, 5000);
	take_away(&p);
	take_away(&inner);
}

/* The probe and its memory are gone when the call returns. */
static void removed_asleep(void)
{
	size_t used;
	struct probe p;
	unsigned int i;

	begin_sleeper();
	used = heap_used;
	for (i = 0; i < 2; i++) {
		place(&p, sleeps, PROBE_LATENCY, i ? PROBE_FLAG_NO_JUMP : 0);
		task_switch(&sleeper);
		CHECK(sum_of(&p).started, 1);
		take_away(&p);
		memset(&p, 0xee, sizeof(p));
		task_switch(&sleeper);
		CHECK(slept, i + 1);
		CHECK(sleeper.probe.calls == 0, true);
	}
	/* The room goes with the next probe. */
	place(&p, t_long, PROBE_ENTRY, 0);
	take_away(&p);
	place(&p, t_long, PROBE_ENTRY, 0);
	take_away(&p);
	CHECK(heap_used <= used + 512, true);
}

/*
 * Disarmed and armed again while a call is under way: that one does not count, as if it had not
 * been entered, and the next one does; the same of a call that returned in between.
 */
static void armed_again(void)
{
	struct probe p;
	struct probe *list[] = { &p };

	begin_sleeper();
	place(&p, sleeps, PROBE_LATENCY, 0);
	task_switch(&sleeper);
	CHECK(probe_disarm(list, 1), 0);
	CHECK(probe_arm(list, 1), 0);
	task_switch(&sleeper);
	CHECK(slept, 1);
	CHECK(sum_of(&p).count, 0);
	CHECK(sum_of(&p).started, 0);
	task_switch(&sleeper);
	task_switch(&sleeper);
	CHECK(slept, 2);
	CHECK(sum_of(&p).count, 1);
	CHECK(sum_of(&p).started, 1);
	task_switch(&sleeper);
	CHECK(sum_of(&p).started, 2);
	CHECK(probe_disarm(list, 1), 0);
	task_switch(&sleeper);
	CHECK(slept, 3);
	CHECK(probe_arm(list, 1), 0);
	CHECK(sum_of(&p).started, 1);
	take_away(&p);
}

static void task_ends(void)
{
	struct probe p;
	unsigned int i;

	place(&p, sleeps, PROBE_LATENCY, 0);
	/* More often than there is room for calls. */
	for (i = 0; i < 100; i++) {
		begin_sleeper();
		task_switch(&sleeper);
		probe_task_end(&sleeper.probe);
	}
	CHECK(sum_of(&p).started, 100);
	CHECK(sum_of(&p).ended, 100);
	CHECK(sum_of(&p).missed, 0);
	CHECK(sum_of(&p).count, 0);
	take_away(&p);
}

/* As setjmp and longjmp: what is jumped over never returns. */
static unsigned long jump_registers[14];
static int jumped;

static noinline u64 jumps_out(u64 n)
{
	unsigned long here[14];

	if (n)
		n = jumps_out(n - 1);
	asm volatile("" : "+r"(n));
	if (n)
		return n;
	__atomic_store_n(&jumped, 1, __ATOMIC_RELAXED);
	switch_registers(here, jump_registers);
	return n;
}

static noinline u64 jumped_over(u64 n)
{
	__atomic_store_n(&jumped, 0, __ATOMIC_RELAXED);
	switch_registers(jump_registers, jump_registers);
	if (!__atomic_load_n(&jumped, __ATOMIC_RELAXED))
		jumps_out(n);
	return n + 1;
}

static void never_returns(void)
{
	struct probe p, over;

	place(&over, jumped_over, PROBE_LATENCY, 0);
	place(&p, jumps_out, PROBE_LATENCY, 0);
	CHECK(jumped_over(4), 5);
	CHECK(sum_of(&p).started, 5);
	CHECK(sum_of(&p).count, 0);
	CHECK(sum_of(&p).ended, 5);
	CHECK(sum_of(&over).count, 1);
	CHECK(this_hart()->task->probe.calls == 0, true);
	take_away(&p);
	take_away(&over);
}

/* A hart that runs no task yet. */
static void no_task(void)
{
	struct task *task = this_hart()->task;
	struct probe entry, latency;

	place(&entry, t_short, PROBE_ENTRY, 0);
	place(&latency, t_long, PROBE_LATENCY, 0);
	this_hart()->task = 0;
	CHECK(t_short(5), 1005);
	CHECK(t_long(5), 1005);
	this_hart()->task = task;
	CHECK(sum_of(&entry).count, 1);
	CHECK(sum_of(&latency).count, 0);
	CHECK(sum_of(&latency).missed, 1);
	take_away(&entry);
	take_away(&latency);
}

const struct test call_tests[] = {
	{ "exact statistics", statistics },
	{ "recursion", recursion },
	{ "no room for a call", no_room },
	{ "tail call", tail_call },
	{ "a call that sleeps", other_task },
	{ "removed under a call that sleeps", removed_asleep },
	{ "armed again under a call", armed_again },
	{ "a task that ends inside", task_ends },
	{ "calls that never return", never_returns },
	{ "no task", no_task },
	{ 0 },
};
