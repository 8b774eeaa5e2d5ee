// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tasks: what becomes of their calls and filters when they fork, exec and end.
 */
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <asm/trapline.h>

#include "opened.h"
#include "version.h"

#define FILTERS 64

/* Guards who has which filter; interrupts are off, as a task may end in any context. */
static DEFINE_SPINLOCK(filter_lock);
static struct probe_group *filters[FILTERS];
static u64 filters_taken; /* also those that are being cleared from tasks */
static unsigned int filter_last; /* the next one is looked for behind it */
/*
 * Tasks that belong to a filter, or will from their execve on. A fork may not be in the list of
 * tasks yet when the filter is cleared: while it has the filter nobody else gets it.
 */
static unsigned int filter_held[FILTERS];

static struct probe_task *engine_task(struct task_struct *task)
{
	BUILD_BUG_ON(sizeof(struct probe_task) != sizeof(task->thread.trapline.engine));
	return (struct probe_task *)task->thread.trapline.engine;
}

/* Those of some filters that a group has. filter_lock is held. */
static u64 filters_of(u64 some)
{
	unsigned int i;

	for (i = 0; i < FILTERS; i++) {
		if (!filters[i])
			some &= ~BIT_ULL(i);
	}
	return some;
}

/*
 * A task had some filters, and waited for some, and has and waits for these now. filter_lock is
 * held.
 */
static void filter_count(u64 had, u64 has, u64 waited, u64 waits)
{
	unsigned int i;

	for (i = 0; i < FILTERS; i++) {
		struct probe_group *group = filters[i];

		filter_held[i] += ((has | waits) >> i & 1) - ((had | waited) >> i & 1);
		if (!group || !((had ^ has) >> i & 1))
			continue;
		group->followed = true;
		group->tasks += (has >> i & 1) - (had >> i & 1);
		if (!group->tasks)
			wake_up_all(&group->wait);
	}
}

/* The task belongs to these filters, and to others from its execve on. filter_lock is held. */
static void filter_set(struct task_struct *task, u64 has, u64 waits)
{
	struct trapline_task *t = &task->thread.trapline;

	has = filters_of(has);
	waits = filters_of(waits) & ~has;
	filter_count(engine_task(task)->groups, has, t->pending, waits);
	WRITE_ONCE(engine_task(task)->groups, has);
	t->pending = waits;
}

/* The task, which ends, counts in no filter any more; its hits still do. */
static void filter_leave(struct task_struct *task)
{
	struct trapline_task *t = &task->thread.trapline;
	unsigned long irqs;

	spin_lock_irqsave(&filter_lock, irqs);
	if (!t->gone) {
		t->gone = true;
		filter_count(engine_task(task)->groups, 0, t->pending, 0);
	}
	spin_unlock_irqrestore(&filter_lock, irqs);
}

/* The calls of a task that have not returned never will: its stack is gone, or about to go. */
static void task_calls_end(struct task_struct *task)
{
	unsigned long irqs;

	local_irq_save(irqs);
	probe_task_end(engine_task(task));
	local_irq_restore(irqs);
}

void trapline_task_dup(struct task_struct *child)
{
	memset(&child->thread.trapline, 0, sizeof(child->thread.trapline));
}

void trapline_task_fork(struct task_struct *child)
{
	u64 groups = engine_task(current)->groups, launching = current->thread.trapline.launching;
	unsigned long irqs;

	if (!(groups | launching))
		return;
	spin_lock_irqsave(&filter_lock, irqs);
	filter_set(child, groups, launching);
	spin_unlock_irqrestore(&filter_lock, irqs);
}

/*
 * The kernel calls it in do_exit, of a fork that failed too. What the task is inside of then does
 * not return; what it enters from here on ends in trapline_task_free.
 */
void exit_thread(struct task_struct *task)
{
	task_calls_end(task);
	filter_leave(task);
}

void trapline_task_free(struct task_struct *task)
{
	task_calls_end(task);
	filter_leave(task);
}

#if TASK_FREE_IS_OURS
void arch_release_task_struct(struct task_struct *task)
{
	trapline_task_free(task);
}
#endif

/* The current task is about to exec (exec.S): what it waits for begins. */
void trapline_exec(void)
{
	struct trapline_task *t = &current->thread.trapline;
	unsigned long irqs;

	if (likely(!t->pending))
		return;
	spin_lock_irqsave(&filter_lock, irqs);
	filter_set(current, engine_task(current)->groups | t->pending, 0);
	spin_unlock_irqrestore(&filter_lock, irqs);
}

/* Takes a filter that no group has from all tasks in the list. */
static void filter_clear(unsigned int filter)
{
	struct task_struct *process, *task;
	u64 keep = ~BIT_ULL(filter);
	unsigned long irqs;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		struct trapline_task *t = &task->thread.trapline;
		u64 *groups = &engine_task(task)->groups;

		if (!((*groups | t->launching | t->pending) & ~keep))
			continue;
		spin_lock_irqsave(&filter_lock, irqs);
		if (!t->gone && (*groups | t->pending) & ~keep)
			filter_held[filter]--;
		WRITE_ONCE(*groups, *groups & keep);
		t->launching &= keep;
		t->pending &= keep;
		spin_unlock_irqrestore(&filter_lock, irqs);
	}
	rcu_read_unlock();
}

/* Gives the group a filter. -EUSERS: all are taken. */
int filter_take(struct probe_group *group)
{
	unsigned long irqs;
	unsigned int i;

	spin_lock_irqsave(&filter_lock, irqs);
	for (i = filter_last + 1; i <= filter_last + FILTERS; i++) {
		unsigned int filter = i % FILTERS;

		if (filters_taken >> filter & 1 || filter_held[filter])
			continue;
		filters_taken |= BIT_ULL(filter);
		filters[filter] = group;
		filter_last = filter;
		group->filter = filter;
		break;
	}
	spin_unlock_irqrestore(&filter_lock, irqs);
	return group->filter < 0 ? -EUSERS : 0;
}

void filter_give_back(struct probe_group *group)
{
	unsigned long irqs;

	if (group->filter < 0)
		return;
	spin_lock_irqsave(&filter_lock, irqs);
	filters[group->filter] = NULL;
	spin_unlock_irqrestore(&filter_lock, irqs);
	filter_clear(group->filter);
	spin_lock_irqsave(&filter_lock, irqs);
	filters_taken &= ~BIT_ULL(group->filter);
	spin_unlock_irqrestore(&filter_lock, irqs);
	group->filter = -1;
}

/*
 * Follows all threads of a process of the caller's PID namespace. A child that is being forked at
 * this moment may be missed.
 */
int filter_follow(struct probe_group *group, pid_t pid)
{
	struct task_struct *process, *task;
	unsigned long irqs;
	int err = -ESRCH;

	process = find_get_task_by_vpid(pid);
	if (!process)
		return -ESRCH;
	rcu_read_lock();
	spin_lock_irqsave(&filter_lock, irqs);
	for_each_thread(process, task) {
		struct trapline_task *t = &task->thread.trapline;

		if (t->gone)
			continue;
		filter_set(task, engine_task(task)->groups | BIT_ULL(group->filter), t->pending);
		err = 0;
	}
	spin_unlock_irqrestore(&filter_lock, irqs);
	rcu_read_unlock();
	put_task_struct(process);
	return err;
}

int filter_launch(struct probe_group *group, bool on)
{
	struct trapline_task *t = &current->thread.trapline;
	unsigned long irqs;

	spin_lock_irqsave(&filter_lock, irqs);
	if (on)
		t->launching |= BIT_ULL(group->filter);
	else
		t->launching &= ~BIT_ULL(group->filter);
	spin_unlock_irqrestore(&filter_lock, irqs);
	return 0;
}

/* Whether there were followed tasks, and are no more. */
bool filter_left(struct probe_group *group)
{
	unsigned long irqs;
	bool left;

	spin_lock_irqsave(&filter_lock, irqs);
	left = group->followed && !group->tasks;
	spin_unlock_irqrestore(&filter_lock, irqs);
	return left;
}
