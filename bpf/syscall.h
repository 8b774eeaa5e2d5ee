/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * System calls: two raw tracepoints for all of them. A task is in one system call at most, so its number is kept with the task.
 */
#ifndef TRAPLINE_SYSCALL_H
#define TRAPLINE_SYSCALL_H

#define SYSCALL_KEY 1 /* no stack pointer: the pair is known by the probe */
#define MAX_ERRNO 4095

const volatile __u32 syscall_returns = 1; /* some probe looks at a system call's return */

inline_always struct syscall_probes *probes_of(__u32 nr)
{
	struct syscall_probes *p = nr < SYSCALLS ? bpf_map_lookup_elem(&syscalls, &nr) : 0;

	return p && p->any ? p : 0;
}

/* Is the current system call one of the 32-bit table, whose numbers mean others? */
inline_always int is_compat(void)
{
#ifdef COMPAT
	struct task_struct *t = (struct task_struct *)bpf_get_current_task_btf();

	return t->thread_info.status & COMPAT;
#else
	return 0;
#endif
}

SEC("tp_btf/sys_enter")
int syscall_enter(__u64 *ctx)
{
	__u32 nr = ctx[1];
	struct syscall_probes *p;

	if (!control.enabled)
		return 0;
	p = probes_of(nr);
	if (!p || is_compat())
		return 0;
	if (filtering)
		start_pending(nr); /* follow_exec may come after us */
	if (filtering || syscall_returns) {
		struct task *t = current_task();

		if (!t)
			return 0;
		t->syscall = nr + 1;
	}
	for (int i = 0; i < CHAIN; i++)
		if (p->entry[i])
			count(ctx, p->entry[i] - 1, FROM_SYSCALL, EVENT_ENTRY, 0);
	if (!syscall_returns)
		return 0;
	for (int i = 0; i < CHAIN; i++)
		if (p->latency[i])
			begin(ctx, p->latency[i] - 1, FROM_SYSCALL, SYSCALL_KEY);
	return 0;
}

/* The call began before the probe was placed. The other return of a fork is none of that. */
inline_always void unpaired_call(__u32 nr, __s64 retval)
{
	struct syscall_probes *p = probes_of(nr);

	if (!p || is_compat())
		return;
	for (int i = 0; i < 4; i++)
		if (retval == 0 && fork_calls[i] == nr + 1)
			return;
	for (int i = 0; i < CHAIN; i++) {
		struct row *r;

		if (!p->latency[i])
			continue;
		r = row_of(p->latency[i] - 1, current_context());
		if (r)
			ADD_SELDOM(r->unpaired, 1);
	}
}

SEC("tp_btf/sys_exit")
int syscall_exit(__u64 *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	__s64 retval = ctx[1];
	int is_error = retval < 0 && retval >= -MAX_ERRNO;
	struct syscall_probes *p;
	struct task *t;
	__s32 nr = -1;

	if (!control.enabled)
		return 0;
#ifdef WORD_SYSCALL
	/* A signal return, and it alone, has no number any more. */
	nr = ((const __u64 *)ctx[0])[WORD_SYSCALL];
	if (nr >= 0 && !probes_of(nr))
		return 0;
#endif
	t = bpf_task_storage_get(&tasks, (struct task_struct *)bpf_get_current_task_btf(), 0, 0);
	if (filtering && !(t && t->flags & TASK_TRACED))
		return 0;
	if (!t || !t->syscall) {
		if (nr >= 0)
			unpaired_call(nr, retval);
		return 0;
	}
	nr = t->syscall - 1;
	t->syscall = 0;
	p = probes_of(nr);
	if (!p)
		return 0;
	/* The other way round than they began. */
	for (int i = CHAIN - 1; i >= 0; i--)
		if (p->latency[i])
			end(ctx, p->latency[i] - 1, FROM_SYSCALL, SYSCALL_KEY, retval, is_error, now);
	for (int i = 0; i < CHAIN; i++)
		if (p->exit[i])
			count(ctx, p->exit[i] - 1, FROM_SYSCALL, EVENT_RETURN, retval);
	return 0;
}

#endif
