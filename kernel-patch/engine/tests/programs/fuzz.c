// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer's target for decode, simulate and move. What holds for every input:
 *
 *   - a decode says the same of a 16-bit instruction and of the 32-bit one that it stands for;
 *   - a simulation changes the pc and rd, nothing else;
 *   - what insn_move writes is the original, or ends, simulated at its new address, with the
 *     registers and the pc of the original simulated at its own;
 *   - insn_move gives up only where refusal.h says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"
#include "refusal.h"

#define FRAME_WORDS PORT_TF_WORDS

struct input {
	u32 bits;
	s32 distance; /* from "from" to "to", halfwords */
	u64 from;
	u64 regs[4]; /* spread over all registers */
};

struct frame {
	u64 words[FRAME_WORDS];
};

static struct trapframe *tf_of(struct frame *frame)
{
	return (struct trapframe *)frame;
}

static void check(bool holds, const struct input *in, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%08x from %#llx by %d halfwords: %s\n", in->bits, in->from, in->distance,
		what);
	abort();
}

static void check_decode(const struct input *in, const struct insn *insn, bool known)
{
	struct insn full;

	check(insn->length == ((in->bits & 3) == 3 ? 4 : 2), in, "length");
	check(insn->policy <= INSN_SLOT && insn->flow <= INSN_CALL_REG, in, "enums");
	check(known == (insn->full != 0), in, "known and its full form");
	check(known || insn->policy == INSN_REJECT, in, "unknown and accepted");
	check(insn->policy != INSN_SIMULATE || insn->simulate, in, "no simulation");
	check(!insn->reserve || insn->policy == INSN_REJECT, in, "reservation accepted");
	if (!known)
		return;
	check(insn_decode(&full, insn->full), in, "full form unknown");
	check(full.policy == insn->policy && full.flow == insn->flow, in, "full form's policy");
	check(full.simulate == insn->simulate && full.target == insn->target, in, "full form");
}

static void fill(const struct input *in, struct frame *frame)
{
	int i;

	for (i = 1; i < FRAME_WORDS; i++)
		frame->words[i] = in->regs[i & 3] + (u64)(i >> 2) * 0x9e3779b97f4a7c15ull;
	/* Equal registers now and then: branches on equality. */
	if (in->regs[0] & 1)
		for (i = 16; i < FRAME_WORDS; i++)
			frame->words[i] = frame->words[i - 15];
	tf_set_pc(tf_of(frame), in->from);
}

static void check_simulate(const struct input *in, const struct insn *insn)
{
	struct frame before, after;
	unsigned int rd = insn->full >> 7 & 31;
	bool writes = insn->flow != INSN_BRANCH;
	int i;

	fill(in, &before);
	after = before;
	if (!insn_simulate(insn, tf_of(&after))) {
		check(!insn->simulate, in, "simulation failed");
		check(!memcmp(&before, &after, sizeof(before)), in, "changed without simulation");
		return;
	}
	check(insn->simulate, in, "simulated without simulation");
	for (i = 1; i < FRAME_WORDS; i++)
		if (!writes || (unsigned int)i != rd)
			check(before.words[i] == after.words[i], in, "changed a register");
	if (insn->flow == INSN_NEXT)
		check(tf_pc(tf_of(&after)) == in->from + insn->length, in, "pc");
	check(!(tf_pc(tf_of(&after)) & 1), in, "odd pc");
}

/* Simulates n bytes of moved code. False: there is something in it that has no simulation. */
static bool run_moved(const u8 *code, size_t n, u64 to, struct frame *frame)
{
	int steps;

	for (steps = 0; steps < 8; steps++) {
		u64 offset = tf_pc(tf_of(frame)) - to;
		struct insn insn;

		if (offset >= n)
			return true;
		if (!insn_decode(&insn, insn_fetch(code + offset)))
			return false;
		if (!insn_simulate(&insn, tf_of(frame)))
			return false;
	}
	return false;
}

static void check_move(const struct input *in, const struct insn *insn, u64 to)
{
	u8 *code = malloc(INSN_MOVED_MAX);
	struct frame original, moved;
	size_t n;

	if (!code)
		abort();
	n = insn_move(insn, in->from, to, code);
	check(n <= INSN_MOVED_MAX && !(n & 1), in, "moved length");
	if (!n) {
		check(may_refuse_move(insn, in->from, to), in, "not moved");
		goto out;
	}
	check(insn->policy != INSN_REJECT, in, "moved what is rejected");
	if (insn->flow == INSN_BRANCH)
		check((n == 4) == !beyond_branch(to, in->from + (u64)insn->target), in,
		      "branch not of the shortest form");
	if (!insn->pc_relative && insn->flow != INSN_CALL_REG) {
		check(n == insn->length && !memcmp(code, &insn->bits, n), in, "not itself");
		goto out;
	}
	fill(in, &original);
	moved = original;
	tf_set_pc(tf_of(&moved), to);
	check(insn_simulate(insn, tf_of(&original)), in, "no simulation of what was rewritten");
	/* A target inside of the new place can't be told from going on there. */
	if (tf_pc(tf_of(&original)) - to <= n)
		goto out;
	check(run_moved(code, n, to, &moved), in, "moved code does not run");
	if (tf_pc(tf_of(&moved)) == to + n)
		tf_set_pc(tf_of(&moved), in->from + insn->length);
	check(!memcmp(&original, &moved, sizeof(moved)), in, "moved code does something else");
out:
	free(code);
}

static void check_jump(const struct input *in, u64 to)
{
	u32 jump = insn_jump(in->from, to);
	u32 call = insn_call(in->from, to);
	struct insn insn;

	check(!insn_jump(in->from, to | 1) && !insn_call(in->from, to | 1), in, "jump to odd");
	check(!jump == beyond_jal(in->from, to) && !jump == !call, in, "jump's reach");
	if (!jump)
		return;
	insn_decode(&insn, jump);
	check(insn.flow == INSN_JUMP && in->from + (u64)insn.target == to, in, "jump");
	insn_decode(&insn, call);
	check(insn.flow == INSN_CALL && in->from + (u64)insn.target == to, in, "call");
	check((call >> 7 & 31) == 1, in, "call's link register");
}

/*
 * Places and targets where the reach of something ends, or just does not: the fuzzer would seldom
 * find them. Which one, and for which instruction of a rewriting, follows from a register.
 */
static void check_edges(const struct input *in, const struct insn *insn)
{
	static const s64 edges[] = {
		-0x1002, -0x1000, 0xffe, 0x1000, -0x100002, -0x100000, 0xffffe, 0x100000,
		-0x80000802ll, -0x80000800ll, 0x7ffff7fell, 0x7ffff800ll,
	};
	u64 edge = (u64)edges[in->regs[3] % COUNT_OF(edges)];
	u64 position = in->regs[3] >> 8 & 12;

	check_jump(in, in->from + edge);
	check_move(in, insn, in->from + (u64)insn->target - edge - position);
	check_move(in, insn, in->from + insn->length - edge);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct input in = { 0 };
	struct insn insn;
	bool known;

	memcpy(&in, data, size < sizeof(in) ? size : sizeof(in));
	in.from &= ~1ull;
	known = insn_decode(&insn, in.bits);
	check_decode(&in, &insn, known);
	check_simulate(&in, &insn);
	check_edges(&in, &insn);
	/* Anywhere, as far as jal reaches, as far as a branch does. */
	check_move(&in, &insn, in.from + 2 * (u64)(s64)in.distance);
	check_move(&in, &insn, in.from + 2 * (u64)(s64)(in.distance >> 11));
	check_move(&in, &insn, in.from + 2 * (u64)(s64)(in.distance >> 19));
	check_jump(&in, in.from + 2 * (u64)(s64)(in.distance >> 11));
	return 0;
}
