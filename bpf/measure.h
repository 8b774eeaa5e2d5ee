/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counting, and the pairing of entry and return.
 */
#ifndef TRAPLINE_MEASURE_H
#define TRAPLINE_MEASURE_H

inline_always __u32 bucket(__u64 v)
{
	__u32 b = 0;

	if (v >> 32) {
		b += 32;
		v >>= 32;
	}
	if (v >> 16) {
		b += 16;
		v >>= 16;
	}
	if (v >> 8) {
		b += 8;
		v >>= 8;
	}
	if (v >> 4) {
		b += 4;
		v >>= 4;
	}
	if (v >> 2) {
		b += 2;
		v >>= 2;
	}
	if (v >> 1) {
		b += 1;
		v >>= 1;
	}
	b += v;
	return b < BUCKETS ? b : BUCKETS - 1;
}

inline_always __u32 current_context(void)
{
	__u32 c = contexts > 1 ? control.context : 0;

	return c < contexts ? c : contexts - 1;
}

inline_always struct row *row_of(__u32 probe, __u32 context)
{
	__u32 i = (bpf_get_smp_processor_id() * probes + probe) * contexts + context;

	return bpf_map_lookup_elem(&rows, &i);
}

/*
 * Rows belong to one CPU, but a program can be interrupted between reading and writing a sum: by a probe in an interrupt, or by
 * another task where the program may be preempted. The kernel keeps most programs from running inside themselves, and then a plain
 * addition does. What happens seldom is always atomic.
 */
#define ADD(field, n)                                        \
	do {                                                 \
		if (preemptible)                             \
			__sync_fetch_and_add(&(field), (n)); \
		else                                         \
			(field) += (n);                      \
	} while (0)

#define ADD_SELDOM(field, n) __sync_fetch_and_add(&(field), (n))

#define RAISE_TRIES 8

inline_always void raise_to(__u64 *field, __u64 v)
{
	if (!preemptible) {
		if (v > *field)
			*field = v;
		return;
	}
	for (int i = 0; i < RAISE_TRIES; i++) {
		__u64 old = *(volatile __u64 *)field;

		if (v <= old || __sync_val_compare_and_swap(field, old, v) == old)
			return;
	}
}

inline_always void count_missed(__u32 probe, __u32 context)
{
	struct row *r = row_of(probe, context);

	if (r)
		ADD_SELDOM(r->missed, 1);
}

/* The state of the current task. With a filter there is none for tasks outside of it. */
inline_always struct task *current_task(void)
{
	struct task_struct *t = (struct task_struct *)bpf_get_current_task_btf();
	struct task *state;

	if (filtering) {
		state = bpf_task_storage_get(&tasks, t, 0, 0);
		if (state && !(state->flags & TASK_TRACED))
			return 0;
		return state;
	}
	return bpf_task_storage_get(&tasks, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

inline_always struct frame *frame_at(struct task *t, __u32 i)
{
	/* Else the compiler proves the mask needless by what the verifier has not seen. */
	asm volatile("" : "+r"(i));
	return &t->frame[i & (DEPTH - 1)];
}

/* The call that the task is in has n more hits inside. */
inline_always void add_nested(struct task *t, __u32 n)
{
	__u32 d = t->depth;

	if (d)
		frame_at(t, d - 1)->nested += n;
}

/* Does a hit count that is not the begin of a call? */
inline_always int counts_here(void)
{
	struct task *t;

	if (!control.enabled)
		return 0;
	if (!filtering && !pairing_used)
		return 1;
	t = filtering ? current_task() : bpf_task_storage_get(&tasks, (struct task_struct *)bpf_get_current_task_btf(), 0, 0);
	if (!t)
		return !filtering;
	add_nested(t, 1);
	return 1;
}

/* A hit without a latency. */
inline_always void count_hit(__u32 probe, __u32 context)
{
	struct row *r = row_of(probe, context);

	if (r)
		ADD(r->hist[0], 1);
}

/* Which of the task's saved values the next call will own. Not its depth: a frame below may have come down from there. */
inline_always __u32 next_slot(struct task *t)
{
	__u32 d = t->depth;

	return d ? frame_at(t, d - 1)->slot + 1 : 0;
}

/* The functions here that are not static are verified once, for any arguments: see values.h. */

/* Where in the task's frames a returning call is, below the top one, or -1: some return was lost. */
__attribute__((noinline)) int find_frame(struct task *t, __u32 probe, __u64 key)
{
	__u32 d;

	if (!t)
		return -1;
	d = t->depth;
	for (int i = 0; i < DEPTH; i++) {
		struct frame *f;

		if (d == 0)
			break;
		d--;
		f = frame_at(t, d);
		if (f->probe == probe && f->key == key)
			return d & (DEPTH - 1);
	}
	return -1;
}

/* Two stack pointers less than this apart are taken to be of one stack: the kernel's are no larger, and lie apart from each other. */
#define STACK_BYTES 16384

inline_always int on_stack_below(__u64 key, __u64 above)
{
	return key < above && above - key < STACK_BYTES;
}

/* The top frame's call will not return any more. */
inline_always void drop_top(struct task *t)
{
	__u32 d = t->depth - 1;
	struct frame *f = frame_at(t, d);
	struct row *r = row_of(f->probe, f->context);

	if (r)
		ADD_SELDOM(r->lost, 1);
	t->depth = d;
}

/*
 * A call begins, and the top frame is not that of a call around it. Stacks grow down: frames that lie below the new call on its
 * stack are of calls whose returns never came. One at the same place is another probe of the same call, or, if it is of the same
 * probe, an earlier call whose return was lost.
 */
__attribute__((noinline)) int drop_stale(struct task *t, __u32 probe, __u64 key)
{
	int d;

	if (!t)
		return 0;
	for (int i = 0; i < DEPTH; i++) {
		if (!t->depth || !on_stack_below(frame_at(t, t->depth - 1)->key, key))
			break;
		drop_top(t);
	}
	d = find_frame(t, probe, key);
	if (d < 0)
		return 0;
	for (int i = 0; i < DEPTH; i++) {
		if (t->depth <= d)
			break;
		drop_top(t);
	}
	return 0;
}

/* Takes a frame for a call that begins. 0: there is none left, and its return will not be counted either. */
inline_always struct frame *take_frame(struct task *t, __u32 probe, __u32 context, __u64 key)
{
	__u32 d = t->depth, slot;
	struct frame *f;

	if (d) {
		__u64 top = frame_at(t, d - 1)->key;

		if (top == key || on_stack_below(top, key)) {
			drop_stale(t, probe, key);
			d = t->depth;
		}
	}
	if (d >= DEPTH) {
		count_missed(probe, context);
		t->over++;
		return 0;
	}
	slot = next_slot(t);
	/* Taken before it is filled: a probe in an interrupt takes the next one. */
	*(volatile __u32 *)&t->depth = d + 1;
	f = frame_at(t, d);
	f->slot = slot;
	f->key = key;
	f->off_cpu = t->off_cpu;
	f->probe = probe;
	f->context = context;
	f->nested = 0;
	return f;
}

/* The call of a frame that was just taken counts, and its time runs from here on. */
inline_always void start_call(struct frame *f, __u32 probe, __u32 context)
{
	struct row *r = row_of(probe, context);

	if (r)
		ADD(r->started, 1);
	/* Last, so that the least of our own time is measured. */
	f->start = bpf_ktime_get_ns();
}

/*
 * A call returns that is not the top one. What lies above it with the same key is the same call, seen by another probe whose
 * turn comes after this one; what has another key was entered later and never returned: it is lost. The frame goes to the top,
 * and its new place is given.
 */
__attribute__((noinline)) int raise_frame(struct task *t, __u32 d)
{
	struct frame own;
	__u32 to = d;

	if (!t)
		return 0;
	own = *frame_at(t, d);
	for (__u32 i = 0; i < DEPTH; i++) {
		__u32 from = d + 1 + i;
		struct frame *f;
		struct row *r;

		if (from >= t->depth || from >= DEPTH)
			break;
		f = frame_at(t, from);
		if (f->key == own.key) {
			*frame_at(t, to) = *f;
			to++;
			continue;
		}
		r = row_of(f->probe, f->context);
		if (r)
			ADD_SELDOM(r->lost, 1);
	}
	*frame_at(t, to) = own;
	t->depth = to + 1;
	return to & (DEPTH - 1);
}

/* A call has returned: its latency goes into its row. */
inline_always void count_call(struct task *t, struct frame *f, __u64 now, int failed)
{
	struct row *r = row_of(f->probe, f->context);
	__u64 ns = now - f->start;

	if (!r)
		return;
	ADD(r->total, ns);
	raise_to(&r->inverse_min, ~ns);
	raise_to(&r->max, ns);
	if (timing_cpu) {
		__u64 off = t->off_cpu - f->off_cpu;

		ADD(r->cpu, off < ns ? ns - off : 0);
	}
	ADD(r->nested, f->nested);
	if (failed)
		ADD(r->errors, 1);
	ADD(r->hist[bucket(ns)], 1);
}

#endif
