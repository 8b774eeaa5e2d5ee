// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//go:build ignore

/*
 * The programs. Each is small: which hit this is, then the same few steps for all.
 *
 *   count   a hit that stands alone: an entry, an instruction, a return, a tracepoint
 *   begin   a call begins
 *   end     it returns
 */
#include "wire.h"
#include "arch.h"
#include "state.h"
#include "measure.h"
#include "values.h"

/* bpf2go makes Go types of what is used. */
const enum base *base_type __attribute__((unused));
const enum format *format_type __attribute__((unused));
const enum test_op *test_op_type __attribute__((unused));
const enum event_kind *event_kind_type __attribute__((unused));
const struct event *event_type __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Where the words of a hit come from. */
enum source { FROM_REGS, FROM_FUNCTION, FROM_RECORD, FROM_ARGUMENTS, FROM_SYSCALL };

/* What the stack pointer points to. */
inline_always void read_stack_top(struct scratch *s)
{
	s->stack_top = 0;
#ifdef WORD_CS
	if (s->word[WORD_CS] & 3)
		bpf_probe_read_user(&s->stack_top, 8, (void *)s->word[WORD_SP]);
	else if (kernel_readable)
		bpf_probe_read_kernel(&s->stack_top, 8, (void *)s->word[WORD_SP]);
#endif
}

inline_always void fill_words(void *ctx, struct scratch *s, enum source from)
{
	__u64 *word = ctx;

	switch (from) {
	case FROM_REGS:
#pragma unroll
		for (int i = 0; i < REGS; i++)
			s->word[i] = word[i];
		if (words_offset)
			read_stack_top(s);
		break;
	case FROM_FUNCTION:
#pragma unroll
		for (int i = 0; i < 8; i++) {
			s->word[i] = 0;
			bpf_get_func_arg(ctx, i, &s->word[i]);
		}
		break;
	case FROM_RECORD:
		s->record = (__u64)ctx;
		/* The kernel hides the first word: it holds a pointer there. */
#pragma unroll
		for (int i = 1; i < WORDS; i++) {
			if (words_here > i)
				s->word[i] = word[i];
			else if (words_here == i && half_here)
				s->word[i] = *(__u32 *)&word[i];
		}
		break;
	case FROM_ARGUMENTS:
#pragma unroll
		for (int i = 0; i < WORDS; i++)
			if (words_here > i)
				s->word[i] = word[i];
		break;
	case FROM_SYSCALL: {
		/* Through BTF, which lockdown allows. */
		const __u64 *regs = (const __u64 *)word[0];

#pragma unroll
		for (int i = 0; i < SYSCALL_WORDS; i++)
			s->word[i] = regs[i];
#ifdef WORD_CS
		s->word[16] = regs[16]; /* ip, flags and sp: between them are segments */
		s->word[18] = regs[18];
		s->word[WORD_SP] = regs[WORD_SP];
		s->stack_top = 0;
#endif
#ifdef WORD_FIRST_PARAMETER
		s->word[WORD_FIRST_PARAMETER] = regs[WORD_FIRST_PARAMETER];
#endif
		break;
	}
	}
}

/*
 * A predicate that is one comparison of a word with a constant, of a program that serves one probe alone. It needs no interpreter:
 * to the verifier all but the comparison itself is dead.
 */
const volatile __u32 tested_word = 0; /* + 1; 0: the recipe has the predicate, if there is one */
const volatile __u32 tested_op = 0;
const volatile __u32 tested_signed = 0; /* the comparison is */
const volatile __u32 tested_shift = 0; /* bits */
const volatile __u32 tested_size = 0; /* bytes */
const volatile __u32 tested_format = 0;
const volatile __u64 tested_value = 0;

/*
 * Reads a word in a branch of its own. Else the compiler chooses between addresses and reads once, which the verifier refuses for a
 * program's context.
 */
#define READ_HERE(to, from, i) asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(to) : "r"(from), "i"((i)*8))

/* Does the hit pass such a predicate, or is there none? */
inline_always int passes(void *ctx, enum source from)
{
	__u32 tested = tested_word, words = words_here;
	__u64 v = 0;

	if (!tested)
		return 1;
	switch (from) {
	case FROM_REGS:
#pragma unroll
		for (int i = 0; i < REGS; i++)
			if (tested == i + 1)
				READ_HERE(v, ctx, i);
		break;
	case FROM_FUNCTION:
#pragma unroll
		for (int i = 0; i < 8; i++)
			if (tested == i + 1)
				bpf_get_func_arg(ctx, i, &v);
		break;
	case FROM_RECORD:
	case FROM_ARGUMENTS:
#pragma unroll
		for (int i = 0; i < WORDS; i++)
			if (tested == i + 1 && words > i && (i > 0 || from == FROM_ARGUMENTS))
				READ_HERE(v, ctx, i);
		break;
	case FROM_SYSCALL:
		return 1; /* these programs serve many probes */
	}
	return holds(tested_op, tested_signed, cut(v >> (tested_shift & 63), tested_size, tested_format), tested_value);
}

/* A hit that stands alone. retval is only looked at where the probe is at a return. */
inline_always int count(void *ctx, __u32 probe, enum source from, __u32 kind, __u64 retval)
{
	__u32 context, slot = 0, ok = 1;
	struct recipe *r;
	struct scratch *s;

	if (!counts_here() || !passes(ctx, from))
		return 0;
	context = current_context();
	if (!recipes_used || tested_word) {
		count_hit(probe, context);
		return 0;
	}
	r = bpf_map_lookup_elem(&recipes, &probe);
	if (!r)
		return 0;
	if (!(r->flags & RECIPE_EVENT) && !r->tests) {
		count_hit(probe, context);
		return 0;
	}
	s = take_scratch(&slot);
	if (!s) {
		count_missed(probe, context);
		return 0;
	}
	s->retval = retval;
	s->latency = 0;
	fill_words(ctx, s, from);
	read_values(s, r, 0, context);
	ok = decide(s, r, 0, r->tests, probe, context);
	if (ok) {
		count_hit(probe, context);
		if (events_used && r->flags & RECIPE_EVENT)
			send(ctx, s, probe, context, kind);
	}
	give_scratch(slot);
	return 0;
}

inline_always struct values *saved_at(struct saved *s, __u32 depth)
{
	asm volatile("" : "+r"(depth));
	return &s->values[depth & (SAVED - 1)];
}

/* Does the call count, by its predicate at entry? What it shows is kept for its return. */
inline_always int begin_values(void *ctx, struct scratch *s, struct recipe *r, __u32 slot, __u32 probe, __u32 context, enum source from)
{
	struct saved *saved;

	fill_words(ctx, s, from);
	read_values(s, r, 0, context);
	if (!decide(s, r, 0, r->tests, probe, context))
		return 0;
	if (!(r->flags & RECIPE_EVENT) && !r->return_tests)
		return 1;
	saved = bpf_task_storage_get(&saved_values, (struct task_struct *)bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (saved && slot < SAVED)
		__builtin_memcpy(saved_at(saved, slot), &s->values, sizeof(s->values));
	return 1;
}

/* A call begins. */
inline_always int begin(void *ctx, __u32 probe, enum source from, __u64 key)
{
	__u32 context, slot = 0, ok = 1;
	struct recipe *r = 0;
	struct scratch *s;
	struct frame *f;
	struct task *t;

	if (!control.enabled || !passes(ctx, from))
		return 0;
	t = current_task();
	context = current_context();
	if (!t) {
		if (!filtering)
			count_missed(probe, context);
		return 0;
	}
	f = take_frame(t, probe, context, key);
	if (!f)
		return 0;
	if (recipes_used && !tested_word)
		r = bpf_map_lookup_elem(&recipes, &probe);
	if (r && (r->fetches || r->flags & RECIPE_EVENT)) {
		s = take_scratch(&slot);
		if (s) {
			ok = begin_values(ctx, s, r, f->slot, probe, context, from);
			give_scratch(slot);
		} else {
			ok = 0;
			count_missed(probe, context);
		}
		if (!ok) {
			*(volatile __u32 *)&t->depth = t->depth - 1; /* gives the frame back */
			return 0;
		}
	}
	start_call(f, probe, context);
	return 1;
}

/* A counted call returns, and shows something or has a predicate on its return. Gives whether it counts. */
inline_always int end_values(void *ctx, struct task *t, struct recipe *r, struct frame *f, enum source from, __u64 retval, __u64 ns)
{
	struct saved *saved;
	struct scratch *s;
	__u32 slot = 0;
	int ok;

	s = take_scratch(&slot);
	if (!s) {
		count_missed(f->probe, f->context);
		return 0;
	}
	s->values.failed = ~0u;
	saved = bpf_task_storage_get(&saved_values, (struct task_struct *)bpf_get_current_task_btf(), 0, 0);
	if (saved && f->slot < SAVED)
		__builtin_memcpy(&s->values, saved_at(saved, f->slot), sizeof(s->values));
	fill_words(ctx, s, from);
	s->retval = retval;
	s->latency = ns;
	read_values(s, r, 1, f->context);
	ok = decide(s, r, r->tests, r->tests + r->return_tests, f->probe, f->context);
	if (ok && events_used && r->flags & RECIPE_EVENT)
		send(ctx, s, f->probe, f->context, EVENT_LATENCY);
	give_scratch(slot);
	return ok;
}

/* It returns. now was taken first of all. */
inline_always int end(void *ctx, __u32 probe, enum source from, __u64 key, __u64 retval, int is_error, __u64 now)
{
	struct task_struct *current = (struct task_struct *)bpf_get_current_task_btf();
	struct recipe *r = 0;
	struct frame *f;
	struct task *t;
	__u32 nested;
	int d = -1;

	if (!control.enabled)
		return 0;
	t = bpf_task_storage_get(&tasks, current, 0, 0);
	if (t && t->depth) {
		d = t->depth - 1;
		f = frame_at(t, d);
		if (f->probe != probe || f->key != key)
			d = find_frame(t, probe, key);
	}
	if (t && d < 0 && t->over) {
		t->over--; /* it found no frame when it began, and was counted as missed then */
		return 0;
	}
	if (!t || d < 0) {
		/* With a predicate most calls have no frame; without one, the call is older than the probe. */
		struct row *row = row_of(probe, current_context());

		if (recipes_used)
			r = bpf_map_lookup_elem(&recipes, &probe);
		if (row && !tested_word && !(r && r->tests) && (!filtering || (t && t->flags & TASK_TRACED)))
			ADD_SELDOM(row->unpaired, 1);
		return 0;
	}
	if (t->depth != d + 1)
		d = raise_frame(t, d);
	f = frame_at(t, d);
	t->over = 0; /* all that began inside has ended */
	nested = f->nested + 1;
	if (recipes_used && !tested_word)
		r = bpf_map_lookup_elem(&recipes, &probe);
	if (r && (r->return_tests || r->flags & RECIPE_EVENT) && !end_values(ctx, t, r, f, from, retval, now - f->start)) {
		/* It was entered, and does not count: as if it had not been. */
		struct row *row = row_of(probe, f->context);

		if (row)
			ADD_SELDOM(row->started, -1);
	} else {
		count_call(t, f, now, is_error);
	}
	/* Given back when it is read: a probe in an interrupt takes the next free one. */
	*(volatile __u32 *)&t->depth = d;
	add_nested(t, nested);
	return 0;
}

#define WORD(ctx, i) (((__u64 *)(ctx))[i])

/* Probe + 1, of a program that serves one probe alone: it is spared the search for its cookie. 0: the cookie says which. */
const volatile __u32 probe_here = 0;

#define PROBE(ctx) (probe_here ? probe_here - 1 : (__u32)bpf_get_attach_cookie(ctx))

SEC("fentry/trapline")
int fentry_count(void *ctx)
{
	return count(ctx, PROBE(ctx), FROM_FUNCTION, EVENT_ENTRY, 0);
}

/*
 * Entry and exit of one call have the same context: a place in the trampoline's stack frame. The difference of two pointers is a
 * plain number to the verifier, which a pointer is not.
 */
#define FRAME_KEY(ctx) ((__u64)(ctx) - (__u64)&control)

SEC("fentry/trapline")
int fentry_begin(void *ctx)
{
	begin(ctx, PROBE(ctx), FROM_FUNCTION, FRAME_KEY(ctx));
	return 0;
}

SEC("fexit/trapline")
int fexit_count(void *ctx)
{
	__u64 retval = 0;

	bpf_get_func_ret(ctx, &retval);
	return count(ctx, PROBE(ctx), FROM_FUNCTION, EVENT_RETURN, retval);
}

SEC("fexit/trapline")
int fexit_end(void *ctx)
{
	__u64 retval = 0, now = bpf_ktime_get_ns();

	bpf_get_func_ret(ctx, &retval);
	return end(ctx, PROBE(ctx), FROM_FUNCTION, FRAME_KEY(ctx), retval, 0, now);
}

/* Kernel and user functions alike: kprobe, kprobe.multi, uprobe, uprobe.multi. */
SEC("kprobe/trapline")
int kprobe_count(void *ctx)
{
	return count(ctx, PROBE(ctx), FROM_REGS, EVENT_ENTRY, 0);
}

SEC("kprobe/trapline")
int kprobe_begin(void *ctx)
{
	begin(ctx, PROBE(ctx), FROM_REGS, WORD(ctx, WORD_SP));
	return 0;
}

SEC("kprobe/trapline")
int kretprobe_count(void *ctx)
{
	return count(ctx, PROBE(ctx), FROM_REGS, EVENT_RETURN, WORD(ctx, WORD_RETVAL));
}

SEC("kprobe/trapline")
int kretprobe_end(void *ctx)
{
	__u64 now = bpf_ktime_get_ns();

	return end(ctx, PROBE(ctx), FROM_REGS, WORD(ctx, WORD_SP) - return_key, WORD(ctx, WORD_RETVAL), 0, now);
}

/* One program for entry and return, which the kernel pairs itself (6.10 for kernel, 6.13 for user functions). */
extern _Bool bpf_session_is_return(void) __attribute__((section(".ksyms")));
extern __u64 *bpf_session_cookie(void) __attribute__((section(".ksyms")));

SEC("kprobe/trapline")
int session(void *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 *mark = bpf_session_cookie();

	if (bpf_session_is_return())
		return end(ctx, PROBE(ctx), FROM_REGS, *mark, WORD(ctx, WORD_RETVAL), 0, now);
	*mark = WORD(ctx, WORD_SP);
	/* 1: no return is wanted of a call that is not counted. */
	return !begin(ctx, PROBE(ctx), FROM_REGS, *mark);
}

SEC("tracepoint/trapline/trapline")
int tracepoint_count(void *ctx)
{
	return count(ctx, PROBE(ctx), FROM_RECORD, EVENT_ENTRY, 0);
}

/* Before 6.10 a raw tracepoint's link has no cookie. */
SEC("tp_btf/trapline")
int raw_tracepoint_count(void *ctx)
{
	return count(ctx, probe_here - 1, FROM_ARGUMENTS, EVENT_ENTRY, 0);
}

#include "follow.h"
#include "syscall.h"
