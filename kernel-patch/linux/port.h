/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The engine's view of Linux: see osutils.h. A trap frame is the begin of struct pt_regs: the pc,
 * then x1 to x31.
 */
#ifndef TRAPLINE_PORT_H
#define TRAPLINE_PORT_H

#define PORT_TF_PC 0
#define PORT_TF_X(n) (n)
#define PORT_TF_WORDS 32
#define PORT_POINTS 1024

#ifndef __ASSEMBLER__

#include <linux/cpumask.h>
#include <linux/errno.h>
#include <linux/math64.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/csr.h>
#ifdef CONFIG_IRQ_STACKS
#include <asm/irq_stack.h>
#endif

#include "version.h"

#define PORT_HARTS nr_cpu_ids
#define PORT_INLINE

struct probe_task;

/* Ticks of the time CSR to ns: ns = ticks * multiplier >> shift. Set once at boot. */
extern u32 port_multiplier;
extern u32 port_shift;

static __always_inline unsigned int os_hart(void)
{
	return raw_smp_processor_id();
}

static __always_inline struct probe_task *os_task(void)
{
	return (struct probe_task *)current->thread.trapline.engine;
}

static __always_inline u64 os_ticks(void)
{
	return csr_read(CSR_TIME);
}

static __always_inline u64 os_ticks_to_ns(u64 ticks)
{
	return mul_u64_u32_shr(ticks, port_multiplier, port_shift);
}

/*
 * The scheduler's own sum, which it brings up to date at ticks and switches, and what has passed
 * since. What this calls must not be probed (policy.c): the engine does not mark the hart as busy
 * for it.
 */
static __always_inline u64 os_task_ns(void)
{
	u64 sum = READ_ONCE(current->se.sum_exec_runtime);
	s64 since = SCHED_CLOCK() - READ_ONCE(current->se.exec_start);

	return since > 0 ? sum + since : sum;
}

/*
 * A task's stack, or that of interrupts on this hart, which may be empty: the first function there
 * goes on to irq_exit_rcu as the last thing. On any other (that of an overflow) there is nothing
 * left.
 */
static __always_inline bool os_stack_left(unsigned long sp)
{
	unsigned long used = sp - (unsigned long)task_stack_page(current);

	if (used < THREAD_SIZE)
		return used >= PAGE_SIZE;
#ifdef CONFIG_IRQ_STACKS
	used = sp - (unsigned long)raw_cpu_read(irq_stack_ptr);
	return used >= PAGE_SIZE && used <= IRQ_STACK_SIZE;
#else
	return false;
#endif
}

/* Where the stack that sp is in ends, if it is one of these; else 0. */
static inline unsigned long port_stack_end(unsigned long sp)
{
	unsigned long stack = (unsigned long)task_stack_page(current);

	if (sp - stack < THREAD_SIZE)
		return stack + THREAD_SIZE;
#ifdef CONFIG_IRQ_STACKS
	stack = (unsigned long)raw_cpu_read(irq_stack_ptr);
	if (sp - stack < IRQ_STACK_SIZE)
		return stack + IRQ_STACK_SIZE;
#endif
	return 0;
}

#endif /* __ASSEMBLER__ */

#endif
