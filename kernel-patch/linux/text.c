// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Writing kernel text while all harts stand still. Between the moment that they stand and the one
 * that they go on, nothing runs that can be probed but __set_fixmap and its like, which policy.c
 * refuses.
 */
#include <linux/cpu.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/stop_machine.h>
#include <asm/cacheflush.h>
#include <asm/fixmap.h>

#include "probe.h"

struct text_job {
	const struct os_edit *edits;
	size_t n;
	atomic_t arrived; /* harts */
	atomic_t written;
};

/* Text is read only: it is written through a second mapping, that of one page at a time. */
struct text_page {
	unsigned long address;
	char *writable; /* 0: none is mapped */
};

static char *text_map(struct text_page *page, unsigned long address)
{
	if (!page->writable || page->address != (address & PAGE_MASK)) {
		page->address = address & PAGE_MASK;
		set_fixmap(FIX_TEXT_POKE0, __pa_symbol(page->address));
		page->writable = (char *)fix_to_virt(FIX_TEXT_POKE0);
	}
	return page->writable + offset_in_page(address);
}

static void text_write(const struct os_edit *edits, size_t n)
{
	struct text_page page = {};
	size_t i, done;

	for (i = 0; i < n; i++) {
		unsigned long address = (unsigned long)edits[i].address;
		const u8 *bytes = edits[i].bytes;

		/* By halfwords, as text is aligned to no more. */
		for (done = 0; done < edits[i].length; done += 2) {
			u16 half = bytes[done] | bytes[done + 1] << 8;

			WRITE_ONCE(*(u16 *)text_map(&page, address + done), half);
		}
	}
	if (page.writable)
		clear_fixmap(FIX_TEXT_POKE0);
}

/* Runs on all harts at once, interrupts off. */
static int text_stopped(void *data)
{
	struct text_job *job = data;

	/*
	 * The last one writes: until then some hart may be on its way here through what is
	 * probed.
	 */
	if (atomic_inc_return(&job->arrived) == num_online_cpus()) {
		text_write(job->edits, job->n);
		atomic_set_release(&job->written, 1);
	} else {
		while (!atomic_read_acquire(&job->written))
			cpu_relax();
	}
	local_flush_icache_all();
	return 0;
}

int os_write_text(const struct os_edit *edits, size_t n)
{
	struct text_job job = { .edits = edits, .n = n };
	int err;

	cpus_read_lock();
	mutex_lock(&text_mutex);
	err = stop_machine_cpuslocked(text_stopped, &job, cpu_online_mask);
	mutex_unlock(&text_mutex);
	cpus_read_unlock();
	return err;
}
