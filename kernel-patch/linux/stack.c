// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The calls around a hit, by frame pointers: s0 points behind a pair of the caller's s0 and the
 * return address.
 */
#include <linux/kernel.h>
#include <linux/uaccess.h>
#include <asm/sections.h>

#include "calls.h"
#include "opened.h"

struct stack_pair {
	unsigned long fp;
	unsigned long ra;
};

static bool stack_is_landing(unsigned long ra)
{
	return ra == (unsigned long)probe_return || ra == (unsigned long)probe_return_whole;
}

/*
 * What a return address was before probes replaced it. Calls are met in the order in which the
 * task has noted them.
 */
static unsigned long stack_real(unsigned long ra, const struct probe_call **call)
{
	while (stack_is_landing(ra) && *call) {
		ra = (*call)->ra;
		*call = (*call)->next;
	}
	return ra;
}

static bool stack_is_text(unsigned long address)
{
	return address >= (unsigned long)_stext && address < (unsigned long)_etext;
}

u32 stack_frames(const struct trapframe *tf, bool at_return, u64 *frame, u32 n)
{
	const struct probe_call *call = os_task()->calls;
	unsigned long fp = tf_reg(tf, 8), below = tf_sp(tf), ra;
	struct stack_pair pair;
	u32 found = 0;

	if (found < n)
		frame[found++] = tf_pc(tf);
	ra = stack_real(tf_ra(tf), &call);
	/* At its begin a function has no frame yet. At a return the pc is this address. */
	if (!at_return && found < n && stack_is_text(ra))
		frame[found++] = ra;
	while (found < n) {
		if (fp & 7 || fp - sizeof(pair) < below || fp - below > THREAD_SIZE)
			break;
		if (copy_from_kernel_nofault(&pair, (void *)(fp - sizeof(pair)), sizeof(pair)))
			break;
		ra = stack_real(pair.ra, &call);
		if (!stack_is_text(ra))
			break;
		frame[found++] = ra;
		below = fp;
		fp = pair.fp;
	}
	return found;
}
