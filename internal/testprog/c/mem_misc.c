// SPDX-License-Identifier: Apache-2.0
// argv[1]: "seal" (mseal, 6.10), "pkey" (protection keys), "droppable" (6.11), "thp" (huge pages in use), "uffd-none"
// (nothing), "swap" (pages given up to swap, if there is any), "lazyfree".
#include "trapline_test.h"

#define SIZE (8 << 20)

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), line[512];
	int supported = 1, key = -1;
	uint64_t sum;

	MUST(p != MAP_FAILED);
	if (!strcmp(mode, "thp"))
		madvise(p, SIZE, MADV_HUGEPAGE);
	sum = tt_fill(p, SIZE, 12);
	if (!strcmp(mode, "seal"))
		supported = !syscall(462 /* mseal */, p, SIZE, 0);
	else if (!strcmp(mode, "pkey")) {
		key = pkey_alloc(0, 0);
		supported = key >= 0 && !pkey_mprotect(p, SIZE, PROT_READ | PROT_WRITE, key);
	} else if (!strcmp(mode, "swap"))
		MUST(!madvise(p, SIZE, 21 /* MADV_PAGEOUT */));
	tt_mapline(p, line, sizeof(line));
	tt_wait();
	if (supported) {
		CHECK(tt_sum(p, SIZE) == sum, "contents changed");
		if (!strcmp(mode, "seal"))
			CHECK(munmap(p, SIZE) < 0 && errno == EPERM, "a sealed map can be unmapped");
		if (!strcmp(mode, "pkey")) {
			char flags[512];
			CHECK(pkey_get(key) == 0, "pkey %d: %d", key, pkey_get(key));
			tt_vmflags(p, flags, sizeof(flags));
			CHECK(!pkey_free(key), "pkey_free(%d): %s", key, strerror(errno));
		}
	}
	tt_done();
}
