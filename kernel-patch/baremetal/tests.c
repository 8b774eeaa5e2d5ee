// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Runs the tests, and the second hart's part of them.
 */
#include "tests.h"

static int failures; /* of the test that runs */

void failed(const char *file, int line, const char *what, s64 seen, s64 want)
{
	if (!failures++) {
		print("\n  ");
		print(file);
		print(":");
		print_number(line);
		print(": ");
		print(what);
		print(" is ");
		print_number(seen);
		print(", not ");
		print_number(want);
		print(" ");
	}
}

void prepare(struct probe *p, const void *address, u32 kind, u64 flags)
{
	struct probe_refusal why;

	*p = (struct probe){
		.address = (unsigned long)address, .kind = kind, .flags = flags, .active = 64
	};
	CHECK(probe_prepare(p, &why), 0);
}

void place(struct probe *p, const void *address, u32 kind, u64 flags)
{
	struct probe *list[] = { p };

	prepare(p, address, kind, flags);
	CHECK(probe_arm(list, 1), 0);
}

/* The same with handlers; changes: they write to registers. */
void place_ops(struct probe *p, const void *address, u32 kind, u64 flags,
	       const struct probe_ops *ops, bool changes)
{
	struct probe *list[] = { p };
	struct probe_refusal why;

	*p = (struct probe){ .address = (unsigned long)address,
			     .kind = kind,
			     .flags = flags,
			     .active = 8,
			     .data_size = 8,
			     .ops = ops,
			     .changes_registers = changes };
	CHECK(probe_prepare(p, &why), 0);
	CHECK(probe_arm(list, 1), 0);
}

void take_away(struct probe *p)
{
	struct probe *list[] = { p };

	CHECK(probe_disarm(list, 1), 0);
	probe_release(p);
}

struct probe_stats sum_of(const struct probe *p)
{
	struct probe_stats sum;

	probe_sum(p, 0, &sum);
	return sum;
}

/* Marsaglia's xorshift: the same numbers in each run. */
u64 random_number(void)
{
	static u64 state = 88172645463325252ul;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void (*other_work)(void);

void other_run(void (*work)(void))
{
	__atomic_store_n(&other_work, work, __ATOMIC_RELEASE);
}

void other_wait(void)
{
	while (__atomic_load_n(&other_work, __ATOMIC_ACQUIRE))
		;
}

/* The second hart waits for work for ever. */
void other_loop(void)
{
	void (*work)(void);

	for (;;) {
		work = __atomic_load_n(&other_work, __ATOMIC_ACQUIRE);
		if (!work)
			continue;
		work();
		__atomic_store_n(&other_work, 0, __ATOMIC_RELEASE);
	}
}

void run_tests(void)
{
	const struct test *const groups[] = {
		place_tests, register_tests, hit_tests, call_tests, hart_tests, syscall_tests,
	};
	int passed = 0, lost = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		const struct test *test;

		for (test = groups[i]; test->run; test++) {
			failures = 0;
			print(test->name);
			test->run();
			print(failures ? ": FAILED\n" : ": ok\n");
			if (failures)
				lost++;
			else
				passed++;
		}
	}
	print_number(passed);
	print(" passed, ");
	print_number(lost);
	print(" failed\n");
}
