/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the port's files have to know of Linux 6.1.
 */
#ifndef TRAPLINE_VERSION_H
#define TRAPLINE_VERSION_H

/* Whether the entry code turns interrupts on before it calls the breakpoint trap. */
#define BREAK_WITH_INTERRUPTS 1

/* System calls get their arguments as parameters. */
#define SYSCALL_FUNCTION(name) sys_##name

/* Whether arch_release_task_struct is ours to define; else a hook is in it. */
#define TASK_FREE_IS_OURS 1

/*
 * Whether text of the idle loop, where RCU does not watch, has a section of its own; else it is
 * noinstr.
 */
#define CPUIDLE_TEXT_SECTION 1

/* The scheduler's clock where interrupts are off. */
#define SCHED_CLOCK() sched_clock()

#define VMA_FLAGS_SET(vma, flags) ((vma)->vm_flags |= (flags))
#define VMA_FLAGS_CLEAR(vma, flags) ((vma)->vm_flags &= ~(flags))

#endif
