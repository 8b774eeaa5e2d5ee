/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which tasks are traced, and when they are on a CPU.
 */
#ifndef TRAPLINE_FOLLOW_H
#define TRAPLINE_FOLLOW_H

#define STORAGE_TRIES 8

/*
 * The state of a task, made where there is none. Making it fails for a moment while the last other storage of the task goes away
 * (kernel/bpf/bpf_local_storage.c), or while the reserve is filled: trying again helps. It does not where this CPU was interrupted
 * or preempted in such work (bpf_task_storage.c): there user space asks again.
 */
inline_always struct task *make_state(struct task_struct *task)
{
	struct task *t;

	for (int i = 0; i < STORAGE_TRIES; i++) {
		t = bpf_task_storage_get(&tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (t)
			return t;
	}
	return 0;
}

/* A task makes another one, which has not run yet. */
SEC("tp_btf/sched_process_fork")
int follow_fork(__u64 *ctx)
{
	struct task_struct *parent = (struct task_struct *)ctx[0];
	struct task_struct *child = (struct task_struct *)ctx[1];
	struct task *t = bpf_task_storage_get(&tasks, parent, 0, 0);
	__u32 flags = 0;

	if (!t)
		return 0;
	if (t->flags & TASK_TRACED)
		flags = TASK_TRACED;
	else if (t->flags & TASK_LAUNCHER)
		flags = TASK_PENDING;
	if (!flags)
		return 0;
	t = make_state(child);
	if (t)
		t->flags |= flags;
	else if (flags == TASK_PENDING)
		__sync_fetch_and_add(&control.unlaunched, 1);
	else
		__sync_fetch_and_add(&control.unfollowed, 1);
	return 0;
}

/* A task ends inside some calls, such as exit_group: they will never return. */
SEC("tp_btf/sched_process_exit")
int task_ends(__u64 *ctx)
{
	struct task *t = bpf_task_storage_get(&tasks, (struct task_struct *)ctx[0], 0, 0);

	if (!t)
		return 0;
	for (__u32 i = 0; i < DEPTH; i++) {
		struct frame *f;
		struct row *r;

		if (i >= t->depth)
			break;
		f = frame_at(t, i);
		r = row_of(f->probe, f->context);
		if (r)
			ADD_SELDOM(r->ended, 1);
	}
	t->depth = 0;
	return 0;
}

/* A command's first system call that counts is the one by which it becomes the command. */
inline_always void start_pending(__u32 nr)
{
	struct task *t;

	if (nr + 1 != exec_calls[0] && nr + 1 != exec_calls[1])
		return;
	t = bpf_task_storage_get(&tasks, (struct task_struct *)bpf_get_current_task_btf(), 0, 0);
	if (t && t->flags & TASK_PENDING)
		t->flags = TASK_TRACED;
}

SEC("tp_btf/sys_enter")
int follow_exec(__u64 *ctx)
{
	start_pending(ctx[1]);
	return 0;
}

/* Marks the task that runs this program (BPF_PROG_TEST_RUN), whatever number it has in its PID namespace. */
SEC("raw_tp/trapline")
int mark_self(void *ctx)
{
	struct task *t = make_state((struct task_struct *)bpf_get_current_task_btf());

	if (!t)
		return 1;
	t->flags |= control.mark_flags;
	return 0;
}

/* Marks tasks that run already. */
SEC("iter/task")
int mark_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct task *t;

	if (!task)
		return 0;
	if (task->tgid != control.mark_tgid)
		return 0;
	t = make_state(task);
	if (!t) {
		control.unmarked++;
		return 0;
	}
	if ((t->flags & control.mark_flags) != control.mark_flags) {
		t->flags |= control.mark_flags;
		control.marked++;
	}
	return 0;
}

SEC("tp_btf/sched_switch")
int switch_cpu(__u64 *ctx)
{
	struct task_struct *prev = (struct task_struct *)ctx[1];
	struct task_struct *next = (struct task_struct *)ctx[2];
	__u64 now = bpf_ktime_get_ns();
	struct task *t = bpf_task_storage_get(&tasks, prev, 0, 0);

	if (t)
		t->switched_out = now;
	t = bpf_task_storage_get(&tasks, next, 0, 0);
	if (t && t->switched_out) {
		t->off_cpu += now - t->switched_out;
		t->switched_out = 0;
	}
	return 0;
}

#endif
