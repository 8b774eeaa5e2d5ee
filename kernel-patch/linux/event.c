// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hits with a recipe, and the ring of events.
 *
 * Any hart writes at any time, without waiting for another:
 *
 *	reserve		head grows by the record's bytes (compare and swap)
 *	fill		all but the size, which is 0
 *	commit		the size, with release
 *
 * So where a record may begin next there must be zeros already. The words of freed room are
 * zeroed some way ahead of head, up to "cleared", by whichever hart finds no other one at it.
 * What user space says of its tail is taken for what it may be: a wrong one garbles events, and
 * nothing else.
 */
#include <linux/instruction_pointer.h>
#include <linux/irqflags.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "opened.h"
#include "rows.h"

/* So much is cleared at once, and ahead of head. */
#define CLEAR_BYTES 4096

/*
 * Where user space reads on, of what was written up to head: not behind it, and not further back
 * than the ring goes.
 */
static u64 events_tail(const struct probe_group *group, const struct probe_events *e, u64 head)
{
	u64 tail = READ_ONCE(group->page->tail);

	if (tail > head)
		return head;
	return head - tail > e->size ? head - e->size : tail;
}

/* Bytes that user space has not read. */
u64 events_unread(const struct probe_group *group)
{
	/* Pairs with group_make_events: what it points to is complete. */
	const struct probe_events *e = smp_load_acquire(&group->events);
	u64 head;

	if (!e)
		return 0;
	head = READ_ONCE(e->ring->head);
	return head - events_tail(group, e, head);
}

/* Clears what user space has read, so that room up to "to" is there, or some of it. */
static void events_clear(const struct probe_group *group, struct probe_events *e, u64 to)
{
	u64 at, limit;

	if (test_and_set_bit_lock(0, &e->clearing))
		return;
	at = e->cleared;
	limit = events_tail(group, e, READ_ONCE(e->ring->head)) + e->size;
	to = min(max(to, at + CLEAR_BYTES), round_down(limit, EVENT_ALIGN));
	if (to > at && to - at <= e->size) {
		for (; at < to; at += EVENT_ALIGN)
			WRITE_ONCE(*(u32 *)(e->records + (at & (e->size - 1))), 0);
		/* Whoever sees this room free sees its zeros. */
		smp_store_release(&e->cleared, to);
	}
	clear_bit_unlock(0, &e->clearing);
}

/* Room for a record, or 0. */
static struct probe_event *event_reserve(const struct probe_group *group, struct probe_events *e,
					 u32 bytes)
{
	u64 head = READ_ONCE(e->ring->head), end, left, cleared;
	struct probe_event *pad;

	do {
		left = e->size - (head & (e->size - 1));
		if (left >= bytes)
			left = 0;
		end = head + left + bytes;
		/* Pairs with events_clear: zeros come before our record. */
		cleared = smp_load_acquire(&e->cleared);
		if (end > cleared) {
			events_clear(group, e, end);
			/* As above. */
			cleared = smp_load_acquire(&e->cleared);
			if (end > cleared)
				return NULL;
		}
	} while (!try_cmpxchg(&e->ring->head, &head, end));
	if (end + CLEAR_BYTES > cleared)
		events_clear(group, e, end + CLEAR_BYTES);
	if (left) {
		pad = e->records + (head & (e->size - 1));
		pad->kind = PROBE_EVENT_PAD;
		/* User space reads the rest when it sees the size. */
		smp_store_release(&pad->size, (u32)left);
	}
	return e->records + ((end - bytes) & (e->size - 1));
}

/* The words from the stack pointer on, as far as the stack goes. */
static u32 event_stack(const struct trapframe *tf, u64 *word, u32 n)
{
	unsigned long sp = tf_sp(tf) & ~7ul;
	unsigned long end = port_stack_end(sp);
	u32 i;

	for (i = 0; i < n && sp < end; i++, sp += 8)
		word[i] = *(const u64 *)sp;
	return i;
}

static void event_fill(struct probe_event *event, struct opened *o, const struct trapframe *tf,
		       const struct probe_values *values, bool at_return)
{
	const struct probe_recipe *r = o->recipe;
	char *to = (char *)(event + 1);
	u32 i;

	event->cookie = o->cookie;
	event->cpu = os_hart();
	event->pid = current->tgid;
	event->tid = current->pid;
	event->failed = values->failed & ((1u << r->values) - 1);
	event->values = r->values;
	event->strings = r->strings;
	event->regs = o->flags & PROBE_FLAG_REGS ? PROBE_REGS : 0;
	event->pad = 0;
	memcpy(event->comm, current->comm, sizeof(event->comm));
	memcpy(to, values->number, r->values * sizeof(u64));
	to += r->values * sizeof(u64);
	memcpy(to, values->string, r->strings * PROBE_STRING_SIZE);
	to += r->strings * PROBE_STRING_SIZE;
	for (i = 0; i < event->regs; i++) {
		*(u64 *)to = i ? tf_reg(tf, i) : tf_pc(tf);
		to += sizeof(u64);
	}
	event->stack_words = event_stack(tf, (u64 *)to, r->stack_words);
	to += event->stack_words * sizeof(u64);
	event->frames = stack_frames(tf, at_return, (u64 *)to, r->frames);
}

void event_send(struct opened *o, struct probe_row *row, const struct trapframe *tf,
		const struct probe_values *values, u64 ns)
{
	struct probe_group *group = o->group;
	/* As in events_unread. */
	struct probe_events *e = smp_load_acquire(&group->events);
	bool at_return = o->probe.kind != PROBE_ENTRY;
	struct probe_event *event;
	u32 bytes = o->recipe->record;

	event = e ? event_reserve(group, e, bytes) : NULL;
	if (!event) {
		row->dropped++;
		if (e)
			__atomic_fetch_add(&e->ring->dropped, 1, __ATOMIC_RELAXED);
		return;
	}
	event->kind = o->probe.kind;
	event->time = ktime_get_mono_fast_ns();
	event->latency = ns;
	event->retval = at_return ? tf_ret(tf) : 0;
	event->context = row_context(&o->probe, row);
	event_fill(event, o, tf, values, at_return);
	/* User space reads the rest when it sees the size. */
	smp_store_release(&event->size, bytes);
	/* A poll says that it waits, and then looks; we write, and then look whether one waits. */
	smp_mb();
	if (READ_ONCE(group->waiting) && events_unread(group) >= group->wakeup &&
	    xchg(&group->waiting, 0))
		irq_work_queue(&group->wake);
}

/*
 * Interrupts are off without lockdep's knowledge. A read of memory that is not there would have
 * it believe that they stay off: a fault puts back what lockdep knows only where interrupts were
 * on.
 */
static bool event_begin(void)
{
	bool on = IS_ENABLED(CONFIG_PROVE_LOCKING) && lockdep_hardirqs_enabled();

	if (on)
		lockdep_hardirqs_off(_THIS_IP_);
	return on;
}

static void event_end(bool on)
{
	if (on) {
		lockdep_hardirqs_on_prepare();
		lockdep_hardirqs_on(_THIS_IP_);
	}
}

static bool event_begins(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
			 u64 *value)
{
	struct opened *o = opened_of(p);
	const struct probe_recipe *r = o->recipe;
	struct probe_values *values = data;

	values->failed = 0;
	fetch_values(r, values, tf, false, 0, row_context(p, row));
	if (!predicate_holds(r, values, 0, r->tests)) {
		row->unread += values->undecided;
		return false;
	}
	if (o->flags & PROBE_FLAG_VALUE) {
		if (values->failed & 1) {
			row->unread++;
			return false;
		}
		*value = values->number[0];
	}
	if (p->kind == PROBE_ENTRY && o->flags & PROBE_FLAG_EVENTS)
		event_send(o, row, tf, values, 0);
	return true;
}

static bool event_ends(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		       u64 ns)
{
	struct opened *o = opened_of(p);
	const struct probe_recipe *r = o->recipe;
	struct probe_values *values = data;

	fetch_values(r, values, tf, true, ns, row_context(p, row));
	if (!predicate_holds(r, values, r->tests, r->tests + r->return_tests)) {
		row->unread += values->undecided;
		return false;
	}
	if (o->flags & PROBE_FLAG_EVENTS)
		event_send(o, row, tf, values, p->kind == PROBE_LATENCY ? ns : 0);
	return true;
}

static bool event_entry(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
			u64 *value)
{
	bool on = event_begin();
	bool counts = event_begins(p, row, tf, data, value);

	event_end(on);
	return counts;
}

static bool event_exit(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		       u64 ns)
{
	bool on = event_begin();
	bool counts = event_ends(p, row, tf, data, ns);

	event_end(on);
	return counts;
}

const struct probe_ops event_ops = {
	.entry = event_entry,
	.exit = event_exit,
};
