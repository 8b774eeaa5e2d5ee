// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Registers: what a hit sees, may change, and leaves alone.
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

const struct test register_tests[] = {
	{ "registers", registers },
	{ "changed registers", change_registers },
	{ "measured register", measured_register },
	{ 0 },
};
