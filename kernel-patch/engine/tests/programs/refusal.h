/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * When insn_move may give up, said apart from move.c: it must move everything else.
 */
#ifndef TRAPLINE_REFUSAL_H
#define TRAPLINE_REFUSAL_H

#include "insn.h"

/* Whether a jal at one address can't go to another. */
static inline bool beyond_jal(u64 at, u64 target)
{
	s64 distance = (s64)(target - at);

	return distance < -1048576 || distance > 1048574 || distance % 2 != 0;
}

/* The same of a branch. */
static inline bool beyond_branch(u64 at, u64 target)
{
	s64 distance = (s64)(target - at);

	return distance < -4096 || distance > 4094 || distance % 2 != 0;
}

/* Whether code at an address can't make a value by auipc and addi. */
static inline bool beyond_auipc(u64 at, u64 value)
{
	s64 distance = (s64)(value - at);

	return distance < -2147483648ll - 2048 || distance > 2147483647ll - 2048;
}

static inline bool may_refuse_move(const struct insn *insn, u64 from, u64 to)
{
	u64 target = from + (u64)insn->target;
	unsigned int rd = insn->full >> 7 & 31;
	unsigned int rs1 = insn->full >> 15 & 31;

	if (insn->policy == INSN_REJECT)
		return true;
	switch (insn->flow) {
	case INSN_BRANCH:
		return beyond_jal(to + 4, target);
	case INSN_JUMP:
		return beyond_jal(to, target);
	case INSN_CALL:
		return beyond_jal(to + 8, target) || beyond_auipc(to, from + insn->length);
	case INSN_CALL_REG:
		return rd == rs1 || beyond_auipc(to, from + insn->length);
	}
	return insn->simulate == INSN_SIM_AUIPC && beyond_auipc(to, target);
}

#endif
