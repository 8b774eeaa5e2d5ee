// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a hit counts, and what it misses.
 */
#include "tests.h"

static bool give_value(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		       u64 *value)
{
	(void)p, (void)row, (void)data;
	*value = tf_arg(tf, 0);
	return tf_arg(tf, 0) != 99;
}

/* The sum of a set of values, to the last bucket. */
static void values(void)
{
	static const struct probe_ops ops = { .entry = give_value };
	static const u64 values[] = { 0, 1, 2, 3, 4, 255, 256, 65535, 65536, 99,
				      1ul << 40, 1ul << 46, 1ul << 47, 1ul << 60 };
	u64 hist[PROBE_BUCKETS] = { 0 }, total = 0;
	struct probe_stats sum;
	struct probe p;
	unsigned int i, b;

	place_ops(&p, t_long, PROBE_ENTRY, PROBE_FLAG_VALUE, &ops, false);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		u64 v = values[i];

		CHECK(t_long(v), v + 1000);
		if (v == 99)
			continue;
		for (b = 0; v >> b && b < 64; b++)
			;
		hist[b < PROBE_BUCKETS ? b : PROBE_BUCKETS - 1]++;
		total += v;
	}
	sum = sum_of(&p);
	CHECK(sum.count, i - 1);
	CHECK(sum.total, total);
	CHECK(sum.min, 0);
	CHECK(sum.max, 1ul << 60);
	for (b = 0; b < PROBE_BUCKETS; b++)
		CHECK(sum.hist[b], hist[b]);
	probe_reset(&p);
	CHECK(probe_sum(&p, 0, &sum), false);
	t_long(6);
	sum = sum_of(&p);
	CHECK(sum.min, 6);
	CHECK(sum.max, 6);
	take_away(&p);
}

static bool only_large(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		       u64 ns)
{
	(void)p, (void)row, (void)data, (void)ns;
	return tf_ret(tf) > 2000;
}

/* Calls that do not count, by what they return. */
static void refused_at_return(void)
{
	static const struct probe_ops ops = { .exit = only_large };
	struct probe p;

	place_ops(&p, t_long, PROBE_LATENCY, 0, &ops, false);
	t_long(5);
	t_long(5000);
	t_long(6);
	CHECK(sum_of(&p).count, 1);
	CHECK(sum_of(&p).started, 1);
	take_away(&p);
}

static void several_at_one(void)
{
	static const struct probe_ops ops = { .entry = give_value };
	struct probe a, b, c, d;
	unsigned long slot;

	place(&a, t_short, PROBE_ENTRY, 0);
	t_short(5);
	place(&b, t_short, PROBE_LATENCY, 0);
	place(&c, t_short, PROBE_LATENCY, 0);
	CHECK(probe_method(&a, &slot), PROBE_METHOD_JUMP);
	CHECK(t_short(5), 1005);
	place_ops(&d, t_short, PROBE_ENTRY, PROBE_FLAG_NO_JUMP, &ops, false);
	CHECK(probe_method(&a, &slot), PROBE_METHOD_SLOT);
	CHECK(t_short(5), 1005);
	CHECK(sum_of(&a).count, 3);
	CHECK(sum_of(&b).count, 2);
	CHECK(sum_of(&c).count, 2);
	CHECK(sum_of(&d).count, 1);
	take_away(&b);
	CHECK(t_short(5), 1005);
	take_away(&d);
	CHECK(probe_method(&a, &slot), PROBE_METHOD_JUMP);
	CHECK(t_short(5), 1005);
	CHECK(sum_of(&a).count, 5);
	CHECK(sum_of(&c).count, 4);
	CHECK(sum_of(&c).started, 4);
	take_away(&a);
	CHECK(t_short(5), 1005);
	CHECK(sum_of(&c).count, 5);
	take_away(&c);
	CHECK(t_short(5), 1005);
}

static noinline u64 inner(u64 n)
{
	asm volatile("" : "+r"(n));
	return n + 1;
}

static bool call_inner(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		       u64 *value)
{
	(void)p, (void)row, (void)tf, (void)data, (void)value;
	CHECK(inner(1), 2);
	CHECK(t_long(5), 1005);
	return true;
}

/* A handler runs what is probed: that is missed, and does what it always does. */
static void nested(void)
{
	static const struct probe_ops ops = { .entry = call_inner };
	unsigned int way;

	for (way = 0; way < 2; way++) {
		u64 flags = way ? PROBE_FLAG_NO_JUMP : 0;
		struct probe outer, in, same;

		place_ops(&outer, t_short, PROBE_ENTRY, flags, &ops, false);
		place(&in, inner, PROBE_LATENCY, flags);
		place_ops(&same, t_long, PROBE_ENTRY, flags, &ops, false);
		CHECK(t_short(5), 1005);
		CHECK(sum_of(&outer).count, 1);
		CHECK(sum_of(&in).count, 0);
		CHECK(sum_of(&in).missed, 1);
		CHECK(sum_of(&same).count, 0);
		CHECK(sum_of(&same).missed, 1);
		CHECK(inner(1), 2);
		CHECK(sum_of(&in).count, 1);
		CHECK(t_long(5), 1005);
		CHECK(sum_of(&same).count, 1);
		CHECK(sum_of(&same).missed, 2);
		CHECK(sum_of(&in).missed, 2);
		take_away(&same);
		take_away(&in);
		take_away(&outer);
	}
}

static void little_stack(void)
{
	static char stack[STACK_SIZE] __aligned(STACK_SIZE);
	struct probe jump, trap;

	place(&jump, t_short, PROBE_LATENCY, 0);
	place(&trap, t_long, PROBE_LATENCY, PROBE_FLAG_NO_JUMP);
	CHECK(call_on_stack(t_short, 5, (unsigned long)stack + 2048), 1005);
	CHECK(call_on_stack(t_long, 5, (unsigned long)stack + 2048), 1005);
	CHECK(call_on_stack(t_short, 5, (unsigned long)stack + 8192), 1005);
	CHECK(call_on_stack(t_long, 5, (unsigned long)stack + 8192), 1005);
	CHECK(sum_of(&jump).missed, 1);
	CHECK(sum_of(&trap).missed, 1);
	CHECK(sum_of(&jump).count, 1);
	CHECK(sum_of(&trap).count, 1);
	take_away(&jump);
	take_away(&trap);
}

static void filter_and_context(void)
{
	u32 now = 0;
	struct probe p = { .address = (unsigned long)t_long,
			   .kind = PROBE_LATENCY,
			   .contexts = 3,
			   .context = &now,
			   .group = 4,
			   .active = 4 };
	struct probe *list[] = { &p };
	struct probe_refusal why;
	struct probe_stats sum;

	CHECK(probe_prepare(&p, &why), 0);
	CHECK(probe_arm(list, 1), 0);
	t_long(5);
	CHECK(probe_sum(&p, 0, &sum), false);
	this_hart()->task->probe.groups = 6;
	t_long(5);
	now = 1;
	t_long(5);
	t_long(5);
	now = 9;
	t_long(5);
	this_hart()->task->probe.groups = 0;
	t_long(5);
	CHECK(probe_sum(&p, 0, &sum), true);
	CHECK(sum.count, 1);
	CHECK(probe_sum(&p, 1, &sum), true);
	CHECK(sum.count, 2);
	CHECK(sum.context, 1);
	CHECK(probe_sum(&p, 2, &sum), true);
	CHECK(sum.count, 1);
	CHECK(probe_sum(&p, 3, &sum), false);
	take_away(&p);
}

const struct test hit_tests[] = {
	{ "values", values },
	{ "refused at the return", refused_at_return },
	{ "several at one address", several_at_one },
	{ "a hit inside a hit", nested },
	{ "little stack", little_stack },
	{ "filter and context", filter_and_context },
	{ 0 },
};
