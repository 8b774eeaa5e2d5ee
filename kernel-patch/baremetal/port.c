// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The port: all that the engine asks of this kernel. Each function answers one of osutils.h.
 */
#include "kernel.h"
#include "probe.h"

/*
 * Pool of slots: between text that is never probed and text that is, so every function is within
 * 1 MiB.
 */
static char pool[32768] __section(".pool") __aligned(16);

u64 test_clock;

void *os_alloc(size_t size)
{
	char *memory = heap_take(size);
	size_t i;

	for (i = 0; memory && i < size; i++)
		memory[i] = 0;
	return memory;
}

void os_free(void *memory)
{
	heap_give_back(memory);
}

void *os_pool(unsigned int i, size_t *size, void **slots)
{
	if (i > 0)
		return 0;
	*size = sizeof(pool);
	*slots = pool + PROBE_TRAMPOLINE_SIZE;
	return pool;
}

int os_write_text(const struct os_edit *edits, size_t n)
{
	unsigned long status;
	size_t i, j;

	/* Nor may an interrupt of this hart run what is half written. */
	asm volatile("csrrci %0, sstatus, 2" : "=r"(status) : : "memory");
	park_other(edits, n);
	for (i = 0; i < n; i++) {
		unsigned char *to = text_alias((unsigned long)edits[i].address);
		const unsigned char *from = edits[i].bytes;

		for (j = 0; j < edits[i].length; j++)
			to[j] = from[j];
	}
	asm volatile("fence rw, rw\n\tfence.i" : : : "memory");
	release_other();
	asm volatile("csrs sstatus, %0" : : "r"(status & 2) : "memory");
	return 0;
}

/*
 * Harts are stopped by an interrupt, but nowhere in a slot or between displaced instructions:
 * trap.c.
 */
bool preemptible;

bool os_preemptible(void)
{
	return preemptible;
}

/* The timer switches to another task, but not in a slot: trap.c. */
void os_wait_for_tasks(void)
{
}

static int locked;

void os_lock(void)
{
	while (__atomic_exchange_n(&locked, 1, __ATOMIC_ACQUIRE))
		;
}

void os_unlock(void)
{
	__atomic_store_n(&locked, 0, __ATOMIC_RELEASE);
}

bool os_function(unsigned long address, unsigned long *start, size_t *size)
{
	return symbol_at(address, start, size);
}

int os_may_probe(unsigned long start, unsigned long end, struct probe_refusal *why)
{
	why->address = start;
	if (start < (unsigned long)__unprobed_end) {
		why->reason = PROBE_REASON_ENGINE;
		return -EACCES;
	}
	if (start < (unsigned long)__pool_end || end > (unsigned long)__text_end) {
		why->reason = PROBE_REASON_NOT_TEXT;
		return -ENOENT;
	}
	return 0;
}
