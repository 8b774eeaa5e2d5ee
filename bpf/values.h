/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Arguments, predicates and events.
 */
#ifndef TRAPLINE_VALUES_H
#define TRAPLINE_VALUES_H

/*
 * A scratch place of this CPU. A program can be interrupted by another one, or preempted: each takes a place of its own by one
 * atomic operation.
 */
inline_always struct scratch *take_scratch(__u32 *slot)
{
	__u32 cpu = bpf_get_smp_processor_id();

	if (cpu >= sizeof(scratch_used) / sizeof(scratch_used[0]))
		return 0;
	for (__u32 i = 0; i < SCRATCHES; i++) {
		if (!(__sync_fetch_and_or(&scratch_used[cpu], 1u << i) & (1u << i))) {
			__u32 place = cpu * SCRATCHES + i;
			struct scratch *s = bpf_map_lookup_elem(&scratches, &place);

			*slot = place;
			return s;
		}
	}
	return 0;
}

inline_always void give_scratch(__u32 slot)
{
	__u32 cpu = slot / SCRATCHES;

	if (cpu < sizeof(scratch_used) / sizeof(scratch_used[0]))
		__sync_fetch_and_and(&scratch_used[cpu], ~(1u << (slot % SCRATCHES)));
}

/*
 * The process and the thread, by the numbers that they have for the loader. The kernel tells those only of tasks whose own PID namespace is
 * the loader's: of all others they are the initial namespace's.
 */
inline_always __u64 task_id(void)
{
	struct bpf_pidns_info own = {};

	if (pid_namespace[1] && !bpf_get_ns_current_pid_tgid(pid_namespace[0], pid_namespace[1], &own, sizeof(own)))
		return (__u64)own.tgid << 32 | own.pid;
	return bpf_get_current_pid_tgid();
}

/* Follows one fetch's memory reads. */
inline_always __u64 follow(const struct fetch *f, __u64 v, int *failed)
{
	int is_string = f->format == FORMAT_STRING || f->format == FORMAT_USER_STRING;

	for (int d = 0; d < DEREFS; d++) {
		__u32 size = 8;
		__u64 address, got = 0;
		long err;

		if (d >= f->derefs)
			break;
		address = v + f->offset[d];
		if (d + 1 == f->derefs) {
			if (is_string)
				return address;
			size = f->size;
			if (size == 0 || size > 8)
				size = 8;
		}
		if (f->user >> d & 1)
			err = bpf_probe_read_user(&got, size, (void *)address);
		else if (kernel_readable)
			err = bpf_probe_read_kernel(&got, size, (void *)address);
		else
			err = -1;
		if (err) {
			*failed = 1;
			return 0;
		}
		v = got;
	}
	return v;
}

inline_always __u64 cut(__u64 v, __u8 size, __u8 format)
{
	__u32 unused = size && size < 8 ? 64 - size * 8 : 0;

	v <<= unused & 63;
	if (format == FORMAT_SIGNED)
		return (__s64)v >> (unused & 63);
	return v >> (unused & 63);
}

/* A string of fixed size inside a tracepoint's record, which ends in a NUL or with its field. */
inline_always long copy_record(char *to, struct scratch *s, const struct fetch *f)
{
	const char *record = (const char *)s->word;
	__u32 n = f->size < RECORD_STRING ? f->size : RECORD_STRING - 1;

	for (__u32 i = 0; i < RECORD_STRING; i++) {
		__u32 at = f->index + i;

		if (i >= n || at >= sizeof(s->word)) {
			to[i] = 0;
			return i;
		}
		to[i] = record[at];
	}
	return n;
}

/*
 * The functions from here on that are not static are verified once each, for any arguments, and not once for every path that leads to
 * them: without that an interpreter is more than the verifier will look at. So each checks what it is given.
 */

/* Reads one value. */
__attribute__((noinline)) int read_value(struct scratch *s, const struct recipe *r, __u32 i, __u32 context)
{
	const struct fetch *f;
	int failed = 0;
	__u64 v = 0;

	if (!s || !r || i >= FETCHES)
		return 0;
	f = &r->fetch[i];
	switch (f->base) {
	case BASE_WORD:
		if (f->index < WORDS)
			v = s->word[f->index] >> (f->shift & 63);
		break;
	case BASE_RETVAL:
		v = s->retval;
		break;
	case BASE_IMMEDIATE:
		v = f->value;
		break;
	case BASE_PID:
		v = task_id() >> 32;
		break;
	case BASE_TID:
		v = (__u32)task_id();
		break;
	case BASE_UID:
		v = (__u32)bpf_get_current_uid_gid();
		break;
	case BASE_CPU:
		v = bpf_get_smp_processor_id();
		break;
	case BASE_LATENCY:
		v = s->latency;
		break;
	case BASE_CONTEXT:
		v = context;
		break;
	case BASE_DATA_LOC:
		if (f->index < WORDS)
			v = s->record + (s->word[f->index] >> (f->shift & 63) & 0xffff);
		break;
	}
	v = follow(f, v, &failed);
	if (strings_used && (f->format == FORMAT_STRING || f->format == FORMAT_USER_STRING)) {
		char *to = s->values.string[f->string & (STRINGS - 1)];
		long n = -1;

		to[0] = 0;
		if (f->base == BASE_COMM)
			n = bpf_get_current_comm(to, 16);
		else if (f->base == BASE_RECORD)
			n = copy_record(to, s, f);
		else if (failed)
			;
		else if (f->format == FORMAT_USER_STRING)
			n = bpf_probe_read_user_str(to, STRING_SIZE, (void *)v);
		else if (kernel_readable)
			n = bpf_probe_read_kernel_str(to, STRING_SIZE, (void *)v);
		if (n < 0)
			failed = 1;
	} else {
		v = cut(v, f->size, f->format);
	}
	s->values.number[i] = v;
	if (failed)
		s->values.failed |= 1u << i;
	else
		s->values.failed &= ~(1u << i);
	return 0;
}

/* Reads the values of one phase: those that exist at entry, or those of the return. */
inline_always void read_values(struct scratch *s, const struct recipe *r, __u32 at_return, __u32 context)
{
	for (__u32 i = 0; i < FETCHES; i++) {
		if (i >= r->fetches)
			break;
		if (r->fetch[i].at_return == at_return)
			read_value(s, r, i, context);
	}
}

struct match_arguments {
	const struct recipe *recipe;
	struct scratch *scratch;
};

/* One step of a match: "*" is any text, "?" any character. */
static long match_step(__u32 i, void *data)
{
	struct match_arguments *a = data;
	struct match *m = &a->scratch->match;
	char p, t;

	if (m->p >= CONSTANT_SIZE || m->t >= STRING_SIZE)
		return 1;
	p = a->recipe->constant[m->constant & (STRINGS - 1)][m->p & (CONSTANT_SIZE - 1)];
	t = a->scratch->values.string[m->string & (STRINGS - 1)][m->t & (STRING_SIZE - 1)];
	if (p == '*') {
		m->p++;
		m->star = m->p;
		m->mark = m->t;
		return 0;
	}
	if (!t) {
		m->matched = !p;
		return 1;
	}
	if (p && (p == '?' || p == t)) {
		m->p++;
		m->t++;
		return 0;
	}
	if (!m->star)
		return 1;
	m->mark++;
	m->t = m->mark;
	m->p = m->star;
	return 0;
}

/* Enough for the worst pattern: every character of the text begins a match of the whole pattern once. */
#define MATCH_STEPS (STRING_SIZE * CONSTANT_SIZE)

inline_always __u32 match_glob(struct scratch *s, const struct recipe *r, __u32 constant, __u32 string)
{
	struct match_arguments a = { .recipe = r, .scratch = s };

	__builtin_memset(&s->match, 0, sizeof(s->match));
	s->match.constant = constant;
	s->match.string = string;
	bpf_loop(MATCH_STEPS, match_step, &a, 0);
	return s->match.matched;
}

inline_always __u32 same_string(struct scratch *s, const struct recipe *r, __u32 constant, __u32 string)
{
	const char *c = r->constant[constant & (STRINGS - 1)];
	const char *v = s->values.string[string & (STRINGS - 1)];

	for (int i = 0; i < CONSTANT_SIZE; i++) {
		if (c[i] != v[i])
			return 0;
		if (!c[i])
			return 1;
	}
	return 0;
}

inline_always int holds(__u32 op, __u32 is_signed, __u64 l, __u64 v)
{
	switch (op) {
	case TEST_EQUAL:
		return l == v;
	case TEST_NOT_EQUAL:
		return l != v;
	case TEST_LESS:
		return is_signed ? (__s64)l < (__s64)v : l < v;
	case TEST_LESS_EQUAL:
		return is_signed ? (__s64)l <= (__s64)v : l <= v;
	case TEST_GREATER:
		return is_signed ? (__s64)l > (__s64)v : l > v;
	case TEST_GREATER_EQUAL:
		return is_signed ? (__s64)l >= (__s64)v : l >= v;
	case TEST_BITS:
		return (l & v) != 0;
	}
	return 0;
}

/* One comparison. A value that could not be read makes it false. */
__attribute__((noinline)) int compare(struct scratch *s, const struct recipe *r, __u32 i)
{
	const struct test *t;
	__u32 left, right;
	__u64 l, v;

	if (!s || !r || i >= TESTS)
		return 0;
	t = &r->test[i];
	v = t->value;
	left = t->left;
	if (left >= FETCHES)
		return 0;
	if (s->values.failed >> left & 1) {
		s->undecided = 1;
		return 0;
	}
	if (strings_used && (t->op == TEST_STRING || t->op == TEST_NOT_STRING))
		return same_string(s, r, t->right, r->fetch[left].string) ^ (t->op == TEST_NOT_STRING);
	if (t->op == TEST_GLOB)
		return globs_used ? match_glob(s, r, t->right, r->fetch[left].string) : 0;
	l = s->values.number[left];
	if (t->right) {
		right = t->right - 1;
		if (right >= FETCHES)
			return 0;
		if (s->values.failed >> right & 1) {
			s->undecided = 1;
			return 0;
		}
		v = s->values.number[right];
	}
	return holds(t->op, t->is_signed, l, v);
}

/* The predicate of one phase: its tests in postfix order. */
__attribute__((noinline)) int accept(struct scratch *s, const struct recipe *r, __u32 from, __u32 to)
{
	__u64 stack = 1; /* true if there is no test */

	if (!s || !r)
		return 0;
	for (__u32 i = 0; i < TESTS; i++) {
		__u64 top = stack & 1;

		if (i < from)
			continue;
		if (i >= to)
			break;
		switch (r->test[i].op) {
		case TEST_AND:
			stack >>= 1;
			stack &= ~1ull | top;
			break;
		case TEST_OR:
			stack >>= 1;
			stack |= top;
			break;
		case TEST_NOT:
			stack ^= 1;
			break;
		default:
			stack = stack << 1 | (compare(s, r, i) & 1);
		}
	}
	return stack & 1;
}

/* The part of an event that does not need the program's context. Gives 0, or 1 if it found no place. */
__attribute__((noinline)) int send_event(struct scratch *s, __u32 probe, __u32 context, __u32 kind, int frames)
{
	__u64 id = task_id(), wake = BPF_RB_NO_WAKEUP;
	__u32 size = event_size;
	struct event *e;

	if (!s)
		return 0;
	e = &s->out.event;
	e->time = bpf_ktime_get_ns();
	e->latency = s->latency;
	e->retval = s->retval;
	e->stack_top = s->stack_top;
	e->probe = probe;
	e->context = context;
	e->pid = id >> 32;
	e->tid = id;
	e->cpu = bpf_get_smp_processor_id();
	e->kind = kind;
	e->failed = s->values.failed;
	e->frames = frames;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	for (int i = 0; i < VALUES; i++)
		e->number[i] = s->values.number[i];
	/* The loader gives these offsets: the parts follow each other without a gap. */
	if (strings_offset && strings_offset <= sizeof(*e))
		__builtin_memcpy((void *)e + strings_offset, s->values.string, sizeof(s->values.string));
	if (words_offset && words_offset <= sizeof(*e) + STRINGS * STRING_SIZE)
		__builtin_memcpy((void *)e + words_offset, s->word, sizeof(s->word));
	if (size < sizeof(*e) || size > sizeof(s->out))
		return 0;
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wakeup_bytes)
		wake = BPF_RB_FORCE_WAKEUP;
	return bpf_ringbuf_output(&events, e, size, wake) != 0;
}

/* The predicate of one phase. A hit that does not pass because something could not be read is counted as that. */
inline_always int decide(struct scratch *s, const struct recipe *r, __u32 from, __u32 to, __u32 probe, __u32 context)
{
	struct row *row;

	s->undecided = 0;
	if (accept(s, r, from, to))
		return 1;
	if (s->undecided) {
		row = row_of(probe, context);
		if (row)
			ADD_SELDOM(row->unread, 1);
	}
	return 0;
}

/* Sends what was read, and counts what finds no place. */
inline_always void send(void *ctx, struct scratch *s, __u32 probe, __u32 context, __u32 kind)
{
	int frames = 0;
	struct row *row;

	if (stack_offset && stack_offset <= sizeof(struct event) + STRINGS * STRING_SIZE + WORDS * 8)
		frames = bpf_get_stack(ctx, (void *)&s->out + stack_offset, FRAMES * 8, 0);
	if (!send_event(s, probe, context, kind, frames))
		return;
	row = row_of(probe, context);
	if (row)
		ADD_SELDOM(row->dropped, 1);
}

#endif
