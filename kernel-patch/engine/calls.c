// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The slow side of calls under way: their room, and what never returns.
 */
#include "calls.h"
#include "rows.h"

static struct probe_calls *dead;

struct probe_calls *calls_make(struct probe *p, u32 total, u32 data_size)
{
	u32 bytes = (sizeof(struct probe_call) + data_size + 15) & ~15u;
	struct probe_calls *room;
	u32 i;

	/* Distances have 32 bits. */
	if (!total || total > 65536 || data_size > 16384)
		return 0;
	room = os_alloc(sizeof(*room) + (size_t)total * bytes);
	if (!room)
		return 0;
	room->probe = p;
	room->bytes = bytes;
	room->total = total;
	for (i = total; i-- > 0;) {
		u32 at = sizeof(*room) + i * bytes;
		struct probe_call *call = (struct probe_call *)((char *)room + at);

		call->room = room;
		call->free = room->head + CALLS_TAG;
		room->head = at;
	}
	return room;
}

bool calls_all_back(const struct probe_calls *room)
{
	u32 at = (u32)__atomic_load_n(&room->head, __ATOMIC_ACQUIRE);
	u32 n = 0;

	/* Calls that come back meanwhile are put before this one. */
	while (at) {
		n++;
		at = (u32)((const struct probe_call *)((const char *)room + at))->free;
	}
	return n == room->total;
}

void calls_bury(struct probe_calls *room)
{
	room->dead = dead;
	dead = room;
	calls_sweep();
}

void calls_sweep(void)
{
	struct probe_calls **at = &dead;

	while (*at) {
		struct probe_calls *room = *at;

		if (calls_all_back(room)) {
			*at = room->dead;
			os_free(room);
		} else {
			at = &room->dead;
		}
	}
}

static void abandon(struct probe_call *call)
{
	struct probe *p = __atomic_load_n(&call->room->probe, __ATOMIC_RELAXED);

	if (p)
		row_at(p, os_hart(), call->row)->ended++;
	call_give_back(call);
}

struct probe_call *calls_find(struct probe_task *task, unsigned long sp)
{
	struct probe_call *call = task->calls;

	while (call && call->sp != sp)
		call = call->next;
	/* No such call: its function returned with another stack pointer, so it is the last one. */
	if (!call)
		return task->calls;
	while (task->calls != call) {
		struct probe_call *gone = task->calls;

		task->calls = gone->next;
		abandon(gone);
	}
	return call;
}

void probe_task_end(struct probe_task *task)
{
	unsigned long status = hart_off();

	while (task->calls) {
		struct probe_call *gone = task->calls;

		task->calls = gone->next;
		abandon(gone);
	}
	hart_restore(status);
}
