// SPDX-License-Identifier: Apache-2.0
// A terabyte reserved, a few pages of it used. The cost must follow what is present.
#include "trapline_test.h"

int main(void)
{
	const size_t tera = 1ull << 40, step = tera / 64;
	char *p = mmap(NULL, tera, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *none = mmap(NULL, tera, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *shared = mmap(NULL, 1ull << 36, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	MUST(p != MAP_FAILED && none != MAP_FAILED && shared != MAP_FAILED);
	madvise(p, tera, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < 64; i++)
		*(size_t *)(p + i * step) = i + 1;
	*(size_t *)(p + tera - 8) = 99;
	shared[1ull << 35] = 5;
	tt_wait();
	for (size_t i = 0; i < 64; i++)
		CHECK(*(size_t *)(p + i * step) == i + 1, "page %zu holds %zu", i, *(size_t *)(p + i * step));
	CHECK(*(size_t *)(p + tera - 8) == 99, "the last page holds %zu", *(size_t *)(p + tera - 8));
	CHECK(p[12345678] == 0, "an unused page holds %d", p[12345678]);
	CHECK(shared[1ull << 35] == 5 && shared[0] == 0, "shared memory changed");
	CHECK(!mprotect(none, 4096, PROT_READ | PROT_WRITE) && (none[0] = 1), "the reservation can't be used");
	tt_done();
}
