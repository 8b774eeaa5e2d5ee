// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Text that probes have, or will, change: kept apart from the engine's tables, whose lock comes
 * before text_mutex, while kprobes ask with text_mutex held.
 */
#include <linux/kprobes.h>
#include <linux/spinlock.h>

#include "opened.h"
#include "pool.h"

static LIST_HEAD(reservations);
static DEFINE_SPINLOCK(reserve_lock);

/*
 * At most so many bytes are displaced by any probe. How many by this one may change while others
 * come and go at its address.
 */
#define RUN_MAX 6

void reserve_text(struct opened *o)
{
	spin_lock(&reserve_lock);
	list_add(&o->reserved, &reservations);
	spin_unlock(&reserve_lock);
#ifdef CONFIG_KPROBES
	{
		/*
		 * A kprobe that asked before that is in the kernel's table only later, but before
		 * its registration lets go of a lock. Taking away a kprobe that is none takes the
		 * lock and does nothing else.
		 */
		struct kprobe none = {};

		disable_kprobe(&none);
	}
#endif
}

void unreserve_text(struct opened *o)
{
	spin_lock(&reserve_lock);
	list_del(&o->reserved);
	spin_unlock(&reserve_lock);
}

/* What runs at hits, and what slots are in: a kprobe there would hit itself, or be written over. */
static bool engine_text(unsigned long start, unsigned long end)
{
	unsigned int i;

	if (start < (unsigned long)probe_text_end && end > (unsigned long)probe_text_begin)
		return true;
	for (i = 0; i < ARRAY_SIZE(probe_pools); i++) {
		unsigned long pool = (unsigned long)probe_pools[i];

		if (start < pool + POOL_BYTES && end > pool)
			return true;
	}
	return false;
}

bool trapline_text_reserved(unsigned long start, unsigned long length)
{
	struct opened *o;
	bool found = false;

	if (engine_text(start, start + length))
		return true;
	spin_lock(&reserve_lock);
	list_for_each_entry(o, &reservations, reserved) {
		unsigned long address = o->probe.address;

		if (start < address + RUN_MAX && start + length > address) {
			found = true;
			break;
		}
	}
	spin_unlock(&reserve_lock);
	return found;
}

#ifdef CONFIG_KPROBES
int __arch_prepare_kprobe(struct kprobe *p);

/*
 * The kernel's own function is compiled under another name (arch/riscv/kernel/probes/Makefile): so
 * no line of it moves. The caller holds text_mutex.
 */
int arch_prepare_kprobe(struct kprobe *p)
{
	u16 first = *(u16 *)p->addr;

	if (trapline_text_reserved((unsigned long)p->addr, (first & 3) == 3 ? 4 : 2))
		return -EBUSY;
	return __arch_prepare_kprobe(p);
}
#endif
