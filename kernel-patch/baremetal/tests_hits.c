// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a hit sees, may change, and counts.
 */
#include "tests.h"

static u64 frame[32]; /* what a handler saw: pc, x1 to x31 */
static u64 seen; /* hits of it */
static void *seen_data;

static void look(struct trapframe *tf)
{
	unsigned int i;

	frame[0] = tf_pc(tf);
	for (i = 1; i < 32; i++)
		frame[i] = tf_reg(tf, i);
	seen++;
}

static bool look_entry(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		       u64 *value)
{
	(void)p, (void)row, (void)value;
	look(tf);
	seen_data = data;
	*(u64 *)data = 77;
	return true;
}

static bool look_exit(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		      u64 ns)
{
	(void)p, (void)row, (void)ns;
	CHECK(data == seen_data, true);
	CHECK(*(u64 *)data, 77);
	look(tf);
	return true;
}

static const struct probe_ops look_ops = { .entry = look_entry, .exit = look_exit };

static void place_ops(struct probe *p, const void *address, u32 kind, u64 flags,
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

static u64 pattern(unsigned int n)
{
	return 0x1122334455667700ul + n;
}

/*
 * Calls t_keep with known registers, which must come back as they were: ra is where it returned
 * to.
 */
static void call_and_compare(void)
{
	u64 registers[32];
	unsigned int i;

	for (i = 0; i < 32; i++)
		registers[i] = pattern(i);
	call_with_registers(t_keep, registers);
	for (i = 3; i < 32; i++) {
		if (i != 4)
			CHECK(registers[i], pattern(i));
	}
	CHECK(registers[1], called_with_registers);
}

static void registers(void)
{
	static const u32 kinds[] = { PROBE_ENTRY, PROBE_RETURN, PROBE_LATENCY };
	unsigned int k, way, i;
	struct probe p;

	for (k = 0; k < 3; k++) {
		for (way = 0; way < 2; way++) {
			u64 flags = way ? PROBE_FLAG_NO_JUMP : 0;

			place(&p, t_keep, kinds[k], flags);
			call_and_compare();
			CHECK(sum_of(&p).count, 1);
			take_away(&p);

			seen = 0;
			place_ops(&p, t_keep, kinds[k], flags, &look_ops, false);
			call_and_compare();
			CHECK(sum_of(&p).count, 1);
			take_away(&p);
			CHECK(seen, kinds[k] == PROBE_ENTRY ? 1 : 2);
			CHECK(frame[0],
			      kinds[k] == PROBE_ENTRY ? (u64)t_keep : (u64)called_with_registers);
			CHECK(frame[1], called_with_registers);
			CHECK(frame[2] % 16, 0);
			CHECK(frame[2] / STACK_SIZE, (u64)&way / STACK_SIZE);
			for (i = 3; i < 32; i++) {
				if (i != 4)
					CHECK(frame[i], pattern(i));
			}
			CHECK(frame[4], this_hart());
		}
	}
}

static bool set_argument(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
			 u64 *value)
{
	(void)p, (void)row, (void)data, (void)value;
	CHECK(tf_arg(tf, 0), 5);
	tf_set_reg(tf, 10, 50);
	tf_set_reg(tf, 0, 1);
	CHECK(tf_reg(tf, 0), 0);
	return true;
}

static bool skip_function(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
			  u64 *value)
{
	(void)p, (void)row, (void)data, (void)value;
	tf_set_reg(tf, 10, 3);
	tf_set_pc(tf, tf_ra(tf));
	return true;
}

static bool set_result(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		       u64 ns)
{
	(void)p, (void)row, (void)data, (void)ns;
	CHECK(tf_ret(tf), 1005);
	tf_set_reg(tf, 10, 7);
	return true;
}

/* What the function returns to is a function of the handler's choice. */
static u64 elsewhere(u64 n)
{
	return n + 1;
}

static unsigned long way_back;

static bool set_return(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		       u64 *value)
{
	(void)p, (void)row, (void)data, (void)value;
	way_back = tf_ra(tf);
	tf_set_ra(tf, (u64)t_long);
	return true;
}

static bool set_return_back(struct probe *p, struct probe_row *row, struct trapframe *tf,
			    void *data, u64 *value)
{
	(void)p, (void)row, (void)data, (void)value;
	tf_set_ra(tf, way_back);
	return true;
}

static void change_registers(void)
{
	static const struct probe_ops argument = { .entry = set_argument },
				      skip = { .entry = skip_function },
				      result = { .exit = set_result },
				      away = { .entry = set_return },
				      back = { .entry = set_return_back };
	unsigned long slot;
	struct probe p, q;

	place_ops(&p, t_long, PROBE_ENTRY, 0, &argument, true);
	CHECK(probe_method(&p, &slot), PROBE_METHOD_SLOT);
	CHECK(t_long(5), 1050);
	take_away(&p);
	place_ops(&p, t_far, PROBE_ENTRY, 0, &argument, true);
	CHECK(t_far(5), 1050);
	take_away(&p);
	place_ops(&p, t_long, PROBE_ENTRY, 0, &skip, true);
	CHECK(t_long(5), 3);
	CHECK(sum_of(&p).count, 1);
	take_away(&p);
	place_ops(&p, t_long, PROBE_LATENCY, 0, &result, false);
	CHECK(t_long(5), 7);
	take_away(&p);
	/* t_short returns to t_long, and that to where t_short should. */
	place_ops(&p, t_middle, PROBE_ENTRY, 0, &away, true);
	place_ops(&q, t_long, PROBE_ENTRY, 0, &back, true);
	CHECK(t_middle(5), 2005);
	take_away(&q);
	take_away(&p);
	CHECK(elsewhere(t_long(5)), 1006);
}

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

/* A register is measured without any handler, one that a call preserves too. */
static void measured_register(void)
{
	unsigned int way, n;

	for (n = 1; n < 32; n++) {
		if (n == 2 || n == 4)
			continue;
		for (way = 0; way < 2; way++) {
			struct probe p = { .address = (unsigned long)t_keep,
					   .kind = PROBE_ENTRY,
					   .flags = PROBE_FLAG_VALUE |
						    (way ? PROBE_FLAG_NO_JUMP : 0),
					   .value_reg = n };
			struct probe *list[] = { &p };
			struct probe_refusal why;

			CHECK(probe_prepare(&p, &why), 0);
			CHECK(probe_arm(list, 1), 0);
			call_and_compare();
			CHECK(sum_of(&p).count, 1);
			CHECK(sum_of(&p).max, n == 1 ? (u64)called_with_registers : pattern(n));
			CHECK(sum_of(&p).min, sum_of(&p).max);
			take_away(&p);
		}
	}
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
	static const struct probe_ops ops = { .entry = look_entry };
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
	{ "registers", registers },
	{ "changed registers", change_registers },
	{ "values", values },
	{ "measured register", measured_register },
	{ "refused at the return", refused_at_return },
	{ "several at one address", several_at_one },
	{ "a hit inside a hit", nested },
	{ "little stack", little_stack },
	{ "filter and context", filter_and_context },
	{ 0 },
};
