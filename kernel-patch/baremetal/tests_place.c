// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Where probes stand and how, what is refused, and that text is what it was behind them.
 */
#include "tests.h"

/* 16-bit instructions change which way is taken. */
#ifdef __riscv_compressed
#define SHORT true
#else
#define SHORT false
#endif

struct target {
	function *run;
	u32 method; /* if nothing is said against a jump */
	u32 trap; /* if it is */
};

#define JUMP PROBE_METHOD_JUMP
#define SLOT PROBE_METHOD_SLOT
#define SIMULATE PROBE_METHOD_SIMULATE

static const struct target targets[] = {
	{ t_short, JUMP, SLOT },
	{ t_long, JUMP, SLOT },
	{ t_mixed, JUMP, SLOT },
	{ t_auipc, JUMP, SLOT },
	{ t_branch, JUMP, SLOT },
	{ t_branch_taken, JUMP, SLOT },
	{ t_branch_short, JUMP, SLOT },
	{ t_jump, JUMP, SLOT },
	{ t_link, JUMP, SLOT },
	{ t_call_register, JUMP, SLOT },
	{ t_return, SHORT ? SLOT : JUMP, SLOT },
	{ t_loop, SHORT ? SLOT : JUMP, SLOT },
	{ t_table, SHORT ? SLOT : JUMP, SLOT },
	{ t_far, SIMULATE, SIMULATE },
	{ t_far_branch, SIMULATE, SIMULATE },
};

#define TARGETS ARRAY_SIZE(targets)

static u64 result_of(function *run)
{
	return run == t_return ? 5 : 1005;
}

static void each_target(u32 kind, u64 flags)
{
	unsigned int i, n;

	for (i = 0; i < TARGETS; i++) {
		const struct target *target = &targets[i];
		unsigned long slot;
		struct probe p;

		place(&p, target->run, kind, flags);
		CHECK(probe_method(&p, &slot), flags ? target->trap : target->method);
		for (n = 1; n <= 3; n++) {
			CHECK(target->run(5), result_of(target->run));
			CHECK(sum_of(&p).count, n);
		}
		take_away(&p);
		CHECK(target->run(5), result_of(target->run));
	}
}

static void entry_by_jump(void)
{
	each_target(PROBE_ENTRY, 0);
}

static void entry_by_ebreak(void)
{
	each_target(PROBE_ENTRY, PROBE_FLAG_NO_JUMP);
}

static void return_by_jump(void)
{
	each_target(PROBE_RETURN, 0);
}

static void return_by_ebreak(void)
{
	each_target(PROBE_RETURN, PROBE_FLAG_NO_JUMP);
}

static void latency_by_jump(void)
{
	each_target(PROBE_LATENCY, 0);
}

static void latency_by_ebreak(void)
{
	each_target(PROBE_LATENCY, PROBE_FLAG_NO_JUMP);
}

static void offset(void)
{
	unsigned long slot;
	struct probe p;

	place(&p, t_middle_at, PROBE_ENTRY, 0);
	CHECK(probe_method(&p, &slot), JUMP);
	CHECK(t_middle(5), 1005);
	CHECK(sum_of(&p).count, 1);
	take_away(&p);
	place(&p, t_reserved_behind, PROBE_ENTRY, 0);
	CHECK(t_reserved(5), 1005);
	CHECK(sum_of(&p).count, 1);
	take_away(&p);
}

static void refuse(const void *address, u32 kind, int error, u32 reason)
{
	struct probe p = { .address = (unsigned long)address, .kind = kind };
	struct probe_refusal why;

	CHECK(probe_prepare(&p, &why), error);
	CHECK(why.reason, reason);
}

static void refused(void)
{
	refuse((char *)t_long + 2, PROBE_ENTRY, -EILSEQ, PROBE_REASON_BOUNDARY);
	refuse(t_reserved_load, PROBE_ENTRY, -EACCES, PROBE_REASON_LR_SC);
	refuse(t_reserved_inside, PROBE_ENTRY, -EACCES, PROBE_REASON_LR_SC);
	refuse(t_reserved_store, PROBE_ENTRY, -EACCES, PROBE_REASON_LR_SC);
	refuse(t_csr, PROBE_ENTRY, -EOPNOTSUPP, PROBE_REASON_INSTRUCTION);
	refuse(t_environment, PROBE_ENTRY, -EOPNOTSUPP, PROBE_REASON_INSTRUCTION);
	refuse(t_break, PROBE_ENTRY, -EOPNOTSUPP, PROBE_REASON_INSTRUCTION);
	refuse(t_nothing, PROBE_ENTRY, -EOPNOTSUPP, PROBE_REASON_INSTRUCTION);
	refuse((void *)symbol_address("probe_hit"), PROBE_ENTRY, -EACCES, PROBE_REASON_ENGINE);
	refuse(trap_vector, PROBE_ENTRY, -ENOENT, PROBE_REASON_NOT_TEXT);
	refuse((void *)8, PROBE_ENTRY, -ENOENT, PROBE_REASON_NOT_TEXT);
	refuse(t_middle_at, PROBE_LATENCY, -EINVAL, PROBE_REASON_NONE);
	refuse(t_long, 0, -EINVAL, PROBE_REASON_NONE);
	refuse(t_long, PROBE_LATENCY + 1, -EINVAL, PROBE_REASON_NONE);
	/* A store that no slot is near enough for. */
	refuse(t_far_push, PROBE_ENTRY, -ENOSPC, PROBE_REASON_SLOTS);
}

/*
 * A probe on the second of two displaced instructions: the first one's jump must give way, and
 * neither misses.
 */
static void inside_displaced(void)
{
	char *second = (char *)t_short + (SHORT ? 2 : 4);
	struct probe first, inside;
	unsigned long slot;

	place(&first, t_short, PROBE_ENTRY, 0);
	CHECK(probe_method(&first, &slot), JUMP);
	place(&inside, second, PROBE_ENTRY, 0);
	CHECK(probe_method(&first, &slot), SHORT ? SLOT : JUMP);
	CHECK(t_short(5), 1005);
	CHECK(sum_of(&first).count, 1);
	CHECK(sum_of(&inside).count, 1);
	take_away(&first);
	CHECK(t_short(5), 1005);
	CHECK(sum_of(&inside).count, 2);
	/* The other order. */
	place(&first, t_short, PROBE_LATENCY, 0);
	CHECK(probe_method(&first, &slot), SHORT ? SLOT : JUMP);
	CHECK(t_short(5), 1005);
	CHECK(sum_of(&first).count, 1);
	CHECK(sum_of(&inside).count, 3);
	take_away(&inside);
	take_away(&first);
	CHECK(t_short(5), 1005);
}

/* Who else looks at text is told what belongs there. */
static void original(void)
{
	u8 before[8], now[8], told[8];
	struct probe p;
	unsigned int way, i;

	for (way = 0; way < 2; way++) {
		for (i = 0; i < 8; i++)
			before[i] = ((const u8 *)t_mixed)[i];
		place(&p, t_mixed, PROBE_ENTRY, way ? PROBE_FLAG_NO_JUMP : 0);
		for (i = 0; i < 8; i++)
			now[i] = ((const u8 *)t_mixed)[i];
		CHECK(probe_original((unsigned long)t_mixed, told, 8), true);
		CHECK(memcmp(before, told, 8), 0);
		CHECK(memcmp(before, now, 8) != 0, true);
		CHECK(probe_text_reserved((unsigned long)t_mixed, (unsigned long)t_mixed + 2),
		      true);
		/* Of a jump the displaced instructions too. */
		CHECK(probe_text_reserved((unsigned long)t_mixed + 4, (unsigned long)t_mixed + 8),
		      SHORT && !way);
		CHECK(probe_text_reserved((unsigned long)t_mixed + 8, (unsigned long)t_mixed + 16),
		      false);
		CHECK(probe_text_reserved((unsigned long)t_mixed - 4, (unsigned long)t_mixed),
		      false);
		take_away(&p);
		CHECK(probe_original((unsigned long)t_mixed, told, 8), false);
		CHECK(memcmp(before, told, 8), 0);
		CHECK(probe_text_reserved((unsigned long)t_mixed, (unsigned long)t_mixed + 2),
		      false);
	}
}

/* No slot is free: what can be simulated still is, and slots come back. */
static void slots_exhausted(void)
{
	static struct probe many[2000];
	struct probe_refusal why;
	unsigned long slot, start, at;
	unsigned int n = 0, ways[4] = { 0 }, i;
	size_t size;
	int err = 0;

	/*
	 * Each instruction that can be had, of the kernel's own text that is not in use for the
	 * moment.
	 */
	for (at = (unsigned long)t_short; at < (unsigned long)call_on_stack && n < 2000; at += 2) {
		struct probe *p = &many[n];

		if (!symbol_at(at, &start, &size))
			continue;
		*p = (struct probe){ .address = at, .kind = PROBE_ENTRY };
		err = probe_prepare(p, &why);
		if (err)
			continue;
		ways[probe_method(p, &slot)]++;
		n++;
	}
	CHECK(n > 100, true);
	for (i = 0; i < n; i++)
		probe_release(&many[i]);
	entry_by_jump();
}

#define CYCLES 1000
#define AT_ONCE 16

static void random_cycles(void)
{
	static struct probe probes[AT_ONCE];
	static bool placed[AT_ONCE];
	static u8 before[4096];
	const u8 *text = (const u8 *)t_short;
	size_t length = (size_t)((const char *)call_on_stack - (const char *)t_short);
	size_t used = heap_used;
	unsigned int i, cycle, method[4] = { 0 };

	CHECK(length <= sizeof(before), true);
	for (i = 0; i < length; i++)
		before[i] = text[i];
	for (cycle = 0; cycle < CYCLES; cycle++) {
		const struct target *target = &targets[random_number() % TARGETS];
		unsigned int n = random_number() % AT_ONCE;
		struct probe *p = &probes[n];
		unsigned long slot;

		if (placed[n]) {
			take_away(p);
			placed[n] = false;
			continue;
		}
		place(p, target->run, 1 + random_number() % 3,
		      random_number() & 1 ? PROBE_FLAG_NO_JUMP : 0);
		method[probe_method(p, &slot)]++;
		placed[n] = true;
		CHECK(target->run(5), result_of(target->run));
		CHECK(sum_of(p).count, 1);
	}
	for (i = 0; i < AT_ONCE; i++) {
		if (placed[i])
			take_away(&probes[i]);
	}
	CHECK(method[JUMP] && method[SLOT] && method[SIMULATE], true);
	CHECK(memcmp(before, text, length), 0);
	/* The last points go with the next write. */
	place(&probes[0], t_long, PROBE_ENTRY, 0);
	take_away(&probes[0]);
	place(&probes[0], t_long, PROBE_ENTRY, 0);
	take_away(&probes[0]);
	CHECK(heap_used <= used + 512, true);
}

/* All targets at once, by one change of the text. */
static void batch(void)
{
	static struct probe probes[TARGETS];
	struct probe *list[TARGETS];
	unsigned int i;

	for (i = 0; i < TARGETS; i++) {
		prepare(&probes[i], targets[i].run, PROBE_LATENCY, 0);
		list[i] = &probes[i];
	}
	for (i = 0; i < TARGETS; i++) {
		CHECK(targets[i].run(5), result_of(targets[i].run));
		CHECK(probe_sum(list[i], 0, &(struct probe_stats){ 0 }), false);
	}
	CHECK(probe_arm(list, TARGETS), 0);
	CHECK(probe_arm(list, TARGETS), 0);
	for (i = 0; i < TARGETS; i++)
		CHECK(targets[i].run(5), result_of(targets[i].run));
	CHECK(probe_disarm(list, TARGETS), 0);
	CHECK(probe_disarm(list, TARGETS), 0);
	for (i = 0; i < TARGETS; i++)
		CHECK(targets[i].run(5), result_of(targets[i].run));
	/* t_jump and t_call_register go on in t_long. */
	for (i = 0; i < TARGETS; i++) {
		CHECK(sum_of(list[i]).count, targets[i].run == t_long ? 3 : 1);
		probe_release(list[i]);
	}
}

const struct test place_tests[] = {
	{ "entry by jump", entry_by_jump },
	{ "entry by ebreak", entry_by_ebreak },
	{ "return by jump", return_by_jump },
	{ "return by ebreak", return_by_ebreak },
	{ "latency by jump", latency_by_jump },
	{ "latency by ebreak", latency_by_ebreak },
	{ "inside a function", offset },
	{ "refused places", refused },
	{ "inside displaced instructions", inside_displaced },
	{ "original text", original },
	{ "every instruction at once", slots_exhausted },
	{ "many at once", batch },
	{ "1,000 random cycles", random_cycles },
	{ 0 },
};
