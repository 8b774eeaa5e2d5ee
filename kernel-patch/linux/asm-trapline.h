/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the rest of the architecture sees of CONFIG_TRAPLINE. Without it, nothing.
 */
#ifndef _ASM_RISCV_TRAPLINE_H
#define _ASM_RISCV_TRAPLINE_H

#ifndef __ASSEMBLER__

#include <linux/linkage.h>
#include <linux/types.h>

struct task_struct;
struct pt_regs;

/* Part of struct thread_struct. Each u64 of filters has a bit a group with a task filter. */
struct trapline_task {
	u64 engine[3]; /* struct probe_task: its groups are filters that the task belongs to */
	u64 launching; /* filters that the children of this thread get at their execve */
	u64 pending; /* filters that this task gets at its execve */
	bool gone; /* it is no longer among the tasks that filters count */
};

#ifdef CONFIG_TRAPLINE

/* A copy of current was made, byte for byte. What it is part of may still come to nothing. */
void trapline_task_dup(struct task_struct *child);
/* The copy is becoming a task: it will run, or exit_thread is called for it. */
void trapline_task_fork(struct task_struct *child);
/* The memory of a task that does not run any more is about to be freed. */
void trapline_task_free(struct task_struct *task);
/*
 * Whether a probe stands at, or has displaced, an instruction in [start, end). text_mutex is
 * held.
 */
bool trapline_text_reserved(unsigned long start, unsigned long length);

/* Before every execve and execveat of the current task. */
void trapline_exec(void);

/*
 * A hart comes up, maybe not for the first time: it may have old text in its instruction cache.
 * Since 6.4 the kernel itself sees to that.
 */
static inline void trapline_hart_begins(void)
{
	__asm__ __volatile__("fence.i" : : : "memory");
}

/* The system call, as it is called until 6.5 and since. */
struct probe_attr;
asmlinkage long sys_probe_open(struct probe_attr __user *attr, size_t size, unsigned int flags);
asmlinkage long __riscv_sys_probe_open(const struct pt_regs *regs);

/* An entry of the exception table, */
asmlinkage void trapline_trap_break(struct pt_regs *regs);
/* and two of the system call table, in assembler: they pass on what they got. */
void trapline_execve(void);
void trapline_execveat(void);

#else

static inline void trapline_task_dup(struct task_struct *child)
{
}

static inline void trapline_task_fork(struct task_struct *child)
{
}

static inline void trapline_task_free(struct task_struct *task)
{
}

static inline bool trapline_text_reserved(unsigned long start, unsigned long length)
{
	return false;
}

static inline void trapline_hart_begins(void)
{
}

#endif

#endif /* __ASSEMBLER__ */

#endif
