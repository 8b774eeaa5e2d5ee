// SPDX-License-Identifier: Apache-2.0
// Private anonymous memory: brk heap, a stack that grew and grows on, PROT_NONE with contents below, read-only, holes.
#include "trapline_test.h"

static char bss[300000];

__attribute__((noinline)) static uint64_t deep(int n, int go)
{
	volatile char frame[4096];
	uint64_t sum;

	memset((void *)frame, n, sizeof(frame));
	if (n)
		sum = deep(n - 1, go);
	else {
		if (go)
			tt_wait();
		sum = 0;
	}
	for (size_t i = 0; i < sizeof(frame); i++)
		if (frame[i] != (char)n)
			return 1000 + n;
	return sum;
}

int main(void)
{
	const size_t pages = 300, page = 4096;
	char *brk0 = sbrk(0), *heap = sbrk(1000000), *none, *ro, *holes, *big;
	uint64_t sheap, sbss, snone, sro, sholes, sbig, bad;

	MUST(heap != (void *)-1);
	sheap = tt_fill(heap, 1000000, 1);
	sbss = tt_fill(bss, sizeof(bss), 2);
	none = mmap(NULL, 20 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	snone = tt_fill(none, 20 * page, 3);
	MUST(!mprotect(none, 20 * page, PROT_NONE));
	ro = mmap(NULL, 20 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sro = tt_fill(ro, 20 * page, 4);
	MUST(!mprotect(ro, 20 * page, PROT_READ));
	holes = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < pages; i += 3)
		tt_fill(holes + i * page, page, i);
	for (size_t i = 1; i < pages; i += 30) // pages that are present and hold nothing but zeros
		*(volatile char *)(holes + i * page) = 0;
	sholes = tt_sum(holes, pages * page);
	big = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sbig = tt_fill(big, 16 << 20, 5);
	bad = deep(200, 1);
	CHECK(!bad, "stack frame %lu changed", bad - 1000);
	CHECK(sbrk(0) == brk0 + 1000000, "brk is %p, expected %p", sbrk(0), brk0 + 1000000);
	CHECK(tt_sum(heap, 1000000) == sheap, "heap changed");
	CHECK(tt_sum(bss, sizeof(bss)) == sbss, "bss changed");
	CHECK(tt_sum(holes, pages * page) == sholes, "a map with holes changed");
	CHECK(tt_sum(big, 16 << 20) == sbig, "16 MiB changed");
	CHECK(tt_sum(ro, 20 * page) == sro, "a read-only map changed");
	MUST(!mprotect(none, 20 * page, PROT_READ));
	CHECK(tt_sum(none, 20 * page) == snone, "what was below PROT_NONE changed");
	CHECK(sbrk(4096) == brk0 + 1000000, "the heap does not grow: %s", strerror(errno));
	bad = deep(1000, 0); // 4 MB: the stack grows on
	CHECK(!bad, "stack frame %lu changed while growing", bad - 1000);
	tt_done();
}
