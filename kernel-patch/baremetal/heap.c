// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Memory in blocks, the first free one that is large enough. Single-threaded: the engine's lock
 * is held.
 */
#include "kernel.h"

#define HEAP_SIZE 0x800000ul

struct block {
	size_t size; /* with this header */
	size_t used;
};

static char heap[HEAP_SIZE] __aligned(64);
size_t heap_used;

static struct block *block_at(size_t at)
{
	return (struct block *)(heap + at);
}

static void merge_free(size_t at)
{
	struct block *block = block_at(at);

	while (at + block->size < HEAP_SIZE && !block_at(at + block->size)->used)
		block->size += block_at(at + block->size)->size;
}

void *heap_take(size_t size)
{
	size_t need = (size + sizeof(struct block) + 63) & ~63ul;
	size_t at;

	if (!block_at(0)->size)
		block_at(0)->size = HEAP_SIZE;
	for (at = 0; at < HEAP_SIZE; at += block_at(at)->size) {
		struct block *block = block_at(at);

		if (block->used)
			continue;
		merge_free(at);
		if (block->size < need)
			continue;
		if (block->size > need) {
			block_at(at + need)->size = block->size - need;
			block_at(at + need)->used = 0;
			block->size = need;
		}
		block->used = 1;
		heap_used += need;
		return block + 1;
	}
	return 0;
}

void heap_give_back(void *memory)
{
	struct block *block = (struct block *)memory - 1;

	block->used = 0;
	heap_used -= block->size;
}
