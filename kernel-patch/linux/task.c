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

static struct probe_task *engine_task(struct task_struct *task)
{
	BUILD_BUG_ON(sizeof(struct probe_task) != sizeof(task->thread.trapline.engine));
	return (struct probe_task *)task->thread.trapline.engine;
}

/* The task counts in these filters from now on. filter_lock is held. */
static void filter_enter(struct task_struct *task, u64 add)
{
	struct probe_task *t = engine_task(task);
	unsigned int i;

	add &= ~t->groups;
	for (i = 0; i < FILTERS; i++) {
		if (!(add >> i & 1))
			continue;
		if (!filters[i]) {
			add &= ~BIT_ULL(i);
			continue;
		}
		filters[i]->tasks++;
		filters[i]->followed = true;
	}
	WRITE_ONCE(t->groups, t->groups | add);
}

/* The task, which ends, counts in no filter any more; its hits still do. */
static void filter_leave(struct task_struct *task)
{
	struct probe_task *t = engine_task(task);
	unsigned long irqs;
	unsigned int i;

	spin_lock_irqsave(&filter_lock, irqs);
	if (!task->thread.trapline.gone) {
		task->thread.trapline.gone = true;
		for (i = 0; i < FILTERS; i++) {
			if (!(t->groups >> i & 1) || !filters[i])
				continue;
			if (!--filters[i]->tasks)
				wake_up_all(&filters[i]->wait);
		}
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
	struct trapline_task *parent = &current->thread.trapline;
	struct trapline_task *t = &child->thread.trapline;
	u64 groups = engine_task(current)->groups;
	unsigned long irqs;

	memset(t, 0, sizeof(*t));
	if (!groups && !parent->launching)
		return;
	spin_lock_irqsave(&filter_lock, irqs);
	filter_enter(child, engine_task(current)->groups);
	t->pending = parent->launching & ~engine_task(current)->groups;
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
	filter_enter(current, t->pending);
	t->pending = 0;
	spin_unlock_irqrestore(&filter_lock, irqs);
}

/* Takes the group's filter from all tasks that have it. */
static void filter_clear(unsigned int filter)
{
	struct task_struct *process, *task;
	u64 keep = ~BIT_ULL(filter);
	unsigned long irqs;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		struct trapline_task *t = &task->thread.trapline;

		if (!((engine_task(task)->groups | t->launching | t->pending) & ~keep))
			continue;
		spin_lock_irqsave(&filter_lock, irqs);
		WRITE_ONCE(engine_task(task)->groups, engine_task(task)->groups & keep);
		t->launching &= keep;
		t->pending &= keep;
		spin_unlock_irqrestore(&filter_lock, irqs);
	}
	rcu_read_unlock();
}

/* Gives the group a filter. -EUSERS: all are taken. */
int filter_take(struct probe_group *group)
{
	unsigned int i, filter = FILTERS;
	unsigned long irqs;

	spin_lock_irqsave(&filter_lock, irqs);
	for (i = 1; i <= FILTERS; i++) {
		if (filters_taken >> (filter_last + i) % FILTERS & 1)
			continue;
		filter = (filter_last + i) % FILTERS;
		filters_taken |= BIT_ULL(filter);
		filter_last = filter;
		break;
	}
	spin_unlock_irqrestore(&filter_lock, irqs);
	if (filter == FILTERS)
		return -EUSERS;
	/* A fork that was under way when the last owner cleared it may have brought it back. */
	filter_clear(filter);
	spin_lock_irqsave(&filter_lock, irqs);
	filters[filter] = group;
	spin_unlock_irqrestore(&filter_lock, irqs);
	group->filter = filter;
	return 0;
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
		if (task->thread.trapline.gone)
			continue;
		filter_enter(task, BIT_ULL(group->filter));
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
