/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What probe_open opens: descriptors, and the groups that they belong to.
 *
 * Locks, outer ones first: group->lock, the engine's (os_lock), cpu_hotplug_lock, text_mutex.
 * filter_lock (task.c) and reserve_lock (reserve.c) are taken alone, or inside of these.
 */
#ifndef TRAPLINE_OPENED_H
#define TRAPLINE_OPENED_H

#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/wait.h>

#include "probe.h"

/* Records begin at multiples of this, so that so few words of a free area have to be zero. */
#define EVENT_ALIGN 32

#define ACTIVE_DEFAULT 128
#define RING_PAGES_MAX 16384

/* The values of one hit, or of one call from its entry on. */
struct probe_values {
	u64 number[PROBE_FETCHES];
	u32 failed; /* a bit a value that could not be read */
	u32 undecided; /* a comparison met one */
	char string[][PROBE_STRING_SIZE];
};

/* What a hit shall read, compare and send. Checked as a whole before the first hit (recipe.c). */
struct probe_recipe {
	u32 fetches;
	u32 tests; /* at entry, */
	u32 return_tests; /* and behind them those at the return */
	u32 values; /* that an event shows */
	u32 strings;
	u32 frames;
	u32 stack_words;
	u32 record; /* bytes of an event, at most */
	struct probe_fetch fetch[PROBE_FETCHES];
	struct probe_test test[PROBE_TESTS];
	char constant[PROBE_STRINGS][PROBE_CONSTANT_SIZE];
};

/* The register that is all that hits need, or 0: the engine reads that one by itself. */
static inline u8 recipe_register(const struct probe_recipe *r, u64 flags)
{
	const struct probe_fetch *f = r->fetch;

	if (flags & PROBE_FLAG_EVENTS || !(flags & PROBE_FLAG_VALUE) || r->tests || r->fetches != 1)
		return 0;
	return f->base == PROBE_BASE_REG && !f->derefs && f->size == 8 ? f->index : 0;
}

/* Records for user space; see trapline.h for their protocol, event.c for ours. */
struct probe_events {
	struct probe_ring *ring; /* its page; only the kernel writes it */
	void *records; /* behind it */
	u64 size; /* bytes of records, a power of two */
	u64 cleared; /* up to where words that may become a record's size are zero */
	unsigned long clearing; /* bit 0: some hart moves it */
};

struct probe_group {
	struct kref refs;
	struct mutex lock; /* probes, and the begin of events */
	struct list_head probes; /* struct opened */
	struct probe_page *page; /* user space writes it at any time */
	struct probe_events *events; /* 0 until it is mapped */
	u32 wakeup; /* bytes */
	u32 waiting; /* a poll wants to be woken */
	wait_queue_head_t wait;
	struct irq_work wake;
	int filter; /* which bit of tasks; -1: all tasks */
	unsigned long tasks; /* that have the bit; filter_lock */
	bool followed; /* there was one */
};

struct opened {
	struct probe probe;
	struct probe_group *group;
	struct list_head of_group;
	struct list_head reserved; /* reserve.c */
	struct llist_node released; /* descriptor.c */
	u64 flags;
	u64 cookie;
	unsigned long function;
	size_t function_size;
	struct probe_recipe *recipe; /* 0: hits only count */
};

static inline struct opened *opened_of(struct probe *p)
{
	return container_of(p, struct opened, probe);
}

/* The context that a row is of. */
static inline u32 row_context(const struct probe *p, const struct probe_row *row)
{
	return ((char *)row - (char *)p->rows) % p->stride / sizeof(*row);
}

/* group.c: a group of which the caller holds a reference. */
struct probe_group *group_new(const struct probe_attr *attr);
struct probe_group *group_of_descriptor(int fd);
void group_put(struct probe_group *group);
int group_mmap(struct probe_group *group, struct vm_area_struct *vma);
__poll_t group_poll(struct probe_group *group, struct file *file, poll_table *table);

/* descriptor.c */
extern const struct file_operations probe_fops;
/* Disarms, and frees as soon as nothing can be inside. */
void opened_close(struct opened *o);
/* Waits for what was closed and is not free yet. */
void opened_flush(void);

/* recipe.c: from attr; *recipe is 0 if hits need none. 0, -EINVAL, -EFAULT, -ENOMEM. */
int recipe_new(const struct probe_attr *attr, struct probe_recipe **recipe);

/* event.c */
extern const struct probe_ops event_ops;
u64 events_unread(const struct probe_group *group);
void event_send(struct opened *o, struct probe_row *row, const struct trapframe *tf,
		const struct probe_values *values, u64 ns);

/* fetch.c, predicate.c: in a trap. */
void fetch_values(const struct probe_recipe *recipe, struct probe_values *values,
		  const struct trapframe *tf, bool at_return, u64 ns, u32 context);
bool predicate_holds(const struct probe_recipe *recipe, struct probe_values *values, u32 from,
		     u32 to);

/* stack.c: return addresses of the calls around a hit, at most n. In a trap. */
u32 stack_frames(const struct trapframe *tf, bool at_return, u64 *frame, u32 n);

/* task.c */
int filter_take(struct probe_group *group);
void filter_give_back(struct probe_group *group);
int filter_follow(struct probe_group *group, pid_t pid);
int filter_launch(struct probe_group *group, bool on);
bool filter_left(struct probe_group *group);

/* symbol.c: the address of a function by attr; errors as probe_open's. */
int symbol_find(const struct probe_attr *attr, struct opened *o, struct probe_refusal *why);

/*
 * reserve.c: what kprobes must not touch. After reserve_text no kprobe appears there; one that is
 * there is found by os_may_probe.
 */
void reserve_text(struct opened *o);
void unreserve_text(struct opened *o);

#endif
