/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Calls under way: a function entered whose return address is probe_return now. The call notes
 * the real one, in a list of its task. Room for the calls of one probe is taken with the probe,
 * and outlives it until the last of them has returned.
 */
#ifndef TRAPLINE_CALLS_H
#define TRAPLINE_CALLS_H

#include "point.h"

struct probe_call {
	struct probe_call *next; /* of the same task, begun before */
	struct probe_calls *room;
	/*
	 * The real return address, or that of probe_return for a call noted before at the same
	 * place
	 */
	unsigned long ra;
	unsigned long sp; /* at entry, and so at the return */
	u64 start; /* ticks */
	u64 hits; /* of the task, this one counted */
	u64 cpu; /* ns */
	u64 row; /* where the row of its context is in a hart's rows, bytes */
	u64 free; /* in the room's stack: the next one's distance from the room, plus CALLS_TAG */
	/* then data for ops */
};

/*
 * A stack of free calls. head: low half the first one's distance from the room in bytes, 0 if
 * there is none; high half a number that changes with each taking, so that a hart that was slow
 * sees that it is no longer the same stack.
 */
struct probe_calls {
	u64 head;
	struct probe *probe; /* that hits count for; 0: none any more */
	struct probe_calls *dead; /* the next one that waits for its calls */
	u32 bytes; /* of a call */
	u32 total;
	u64 pad[4];
};

#define CALLS_TAG 0x100000000ull

/* A free call, or 0. In a trap. */
static inline struct probe_call *call_take(struct probe_calls *room)
{
	u64 head = __atomic_load_n(&room->head, __ATOMIC_RELAXED);
	struct probe_call *call;
	u64 at, next;

	do {
		at = (u32)head;
		if (unlikely(!at))
			return 0;
		call = (struct probe_call *)((char *)room + at);
		/* Another hart may have it by now and write this: then head has changed too. */
		next = head - at + __atomic_load_n(&call->free, __ATOMIC_RELAXED);
	} while (unlikely(!__atomic_compare_exchange_n(&room->head, &head, next, true,
						       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)));
	return call;
}

/* Last use of a call; the room may be gone behind it. In a trap. */
static inline void call_give_back(struct probe_call *call)
{
	struct probe_calls *room = call->room;
	u64 head = __atomic_load_n(&room->head, __ATOMIC_RELAXED);
	u64 at;

	do {
		at = (u32)head;
		call->free = at + CALLS_TAG;
		at = head - at + ((char *)call - (char *)room);
	} while (unlikely(!__atomic_compare_exchange_n(&room->head, &head, at, true,
						       __ATOMIC_RELEASE, __ATOMIC_RELAXED)));
}

/* Room for calls with data of so many bytes; 0 if there is no memory. May block. */
struct probe_calls *calls_make(struct probe *p, u32 total, u32 data_size);
/* Whether no call is under way. Only of use while none can begin. */
bool calls_all_back(const struct probe_calls *room);
/* Frees the room when its calls have returned. Under the lock. */
void calls_bury(struct probe_calls *room);
/* Frees rooms whose calls have returned. Under the lock. */
void calls_sweep(void);
/* The call that returns with this stack pointer; those begun behind it never return. In a trap. */
struct probe_call *calls_find(struct probe_task *task, unsigned long sp);

#endif
