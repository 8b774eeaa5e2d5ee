/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the port's files have to know of Linux 6.12.
 */
#ifndef TRAPLINE_VERSION_H
#define TRAPLINE_VERSION_H

/* Whether the entry code turns interrupts on before it calls the breakpoint trap. */
#define BREAK_WITH_INTERRUPTS 0

/* System calls get struct pt_regs. */
#define SYSCALL_FUNCTION(name) __riscv_sys_##name

/* Whether arch_release_task_struct is ours to define; else a hook is in it. */
#define TASK_FREE_IS_OURS 0

/*
 * Whether text of the idle loop, where RCU does not watch, has a section of its own; else it is
 * noinstr.
 */
#define CPUIDLE_TEXT_SECTION 0

/* The scheduler's clock where interrupts are off. */
#define SCHED_CLOCK() sched_clock_noinstr()

#define VMA_FLAGS_SET(vma, flags) vm_flags_set(vma, flags)
#define VMA_FLAGS_CLEAR(vma, flags) vm_flags_clear(vma, flags)

#endif
