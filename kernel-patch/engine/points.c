// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Points by address, in two tables: those that a trap may meet, which is read without a lock,
 * and all. A point leaves the first one when its text is back, as until then a trap must find
 * it. It is freed behind the next wait for all harts: then no trap looks at it any more.
 */
#include "point.h"

static struct probe_point **live, **known;

static unsigned long hash(unsigned long address)
{
	/*
	 * Functions begin at multiples of 2 or 4. A multiplication would be better, and its
	 * constant too long to load.
	 */
	return (address >> 2 ^ address >> 12) & (PORT_POINTS - 1);
}

int points_init(void)
{
	live = os_alloc(PORT_POINTS * sizeof(*live));
	known = os_alloc(PORT_POINTS * sizeof(*known));
	if (!live || !known)
		return -ENOMEM;
	return 0;
}

struct probe_point *point_live(unsigned long address)
{
	struct probe_point *point;

	if (unlikely(!live))
		return 0;
	point = __atomic_load_n(&live[hash(address)], __ATOMIC_CONSUME);
	while (point && point->address != address)
		point = __atomic_load_n(&point->live, __ATOMIC_CONSUME);
	return point;
}

struct probe_point *point_known(unsigned long address)
{
	struct probe_point *point = known ? known[hash(address)] : 0;

	while (point && point->address != address)
		point = point->known;
	return point;
}

void point_know(struct probe_point *point)
{
	struct probe_point **head = &known[hash(point->address)];

	point->known = *head;
	*head = point;
}

void point_forget(struct probe_point *point)
{
	struct probe_point **at = &known[hash(point->address)];

	while (*at != point)
		at = &(*at)->known;
	*at = point->known;
}

void point_find_begin(struct probe_point *point)
{
	struct probe_point **head = &live[hash(point->address)];

	if (point->findable)
		return;
	point->findable = true;
	point->live = *head;
	__atomic_store_n(head, point, __ATOMIC_RELEASE);
}

void point_find_end(struct probe_point *point)
{
	struct probe_point **at = &live[hash(point->address)];

	if (!point->findable)
		return;
	point->findable = false;
	while (*at != point)
		at = &(*at)->live;
	/* Its own link stays, for a trap that stands on it. */
	__atomic_store_n(at, point->live, __ATOMIC_RELEASE);
}

static struct probe_point *retired;
static unsigned int retired_count;

#define RETIRED_MAX 256

int points_write(const struct os_edit *edits, size_t n)
{
	struct probe_point *gone = retired;
	int err;

	err = os_write_text(edits, n);
	if (err)
		return err;
	retired = 0;
	retired_count = 0;
	while (gone) {
		struct probe_point *point = gone;

		gone = point->known;
		if (point->slot)
			slot_give_back(point->slot, point->slot_bytes);
		os_free(point);
	}
	return 0;
}

void point_retire(struct probe_point *point)
{
	point->known = retired;
	retired = point;
	if (++retired_count >= RETIRED_MAX)
		points_write(0, 0);
}

bool points_retired(void)
{
	return retired_count != 0;
}
