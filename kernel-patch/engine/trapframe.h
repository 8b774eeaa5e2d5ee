/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The registers at a hit, wherever the kernel's trap frame has them (port.h).
 */
#ifndef TRAPLINE_TRAPFRAME_H
#define TRAPLINE_TRAPFRAME_H

#include "port.h"

struct trapframe; /* the port's own, seen as words */

/* A word of it. It may alias the port's own type, however the port is compiled. */
typedef u64 __attribute__((__may_alias__)) tf_word;

static inline u64 tf_pc(const struct trapframe *tf)
{
	return ((const tf_word *)tf)[PORT_TF_PC];
}

static inline void tf_set_pc(struct trapframe *tf, u64 pc)
{
	((tf_word *)tf)[PORT_TF_PC] = pc;
}

/* Register xN; x0 is always 0. n is below 32. */
static inline u64 tf_reg(const struct trapframe *tf, unsigned int n)
{
	return n ? ((const tf_word *)tf)[PORT_TF_X(n)] : 0;
}

/* Writes to x0 vanish. */
static inline void tf_set_reg(struct trapframe *tf, unsigned int n, u64 value)
{
	if (n)
		((tf_word *)tf)[PORT_TF_X(n)] = value;
}

static inline u64 tf_ra(const struct trapframe *tf)
{
	return tf_reg(tf, 1);
}

static inline void tf_set_ra(struct trapframe *tf, u64 ra)
{
	tf_set_reg(tf, 1, ra);
}

static inline u64 tf_sp(const struct trapframe *tf)
{
	return tf_reg(tf, 2);
}

/* Parameter i of the function, 0 to 7, at its entry. */
static inline u64 tf_arg(const struct trapframe *tf, unsigned int i)
{
	return tf_reg(tf, 10 + i);
}

/* What the function returned. */
static inline u64 tf_ret(const struct trapframe *tf)
{
	return tf_reg(tf, 10);
}

#endif
