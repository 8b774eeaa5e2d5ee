// SPDX-License-Identifier: Apache-2.0
// Guard pages of Linux 6.13 within a map.
#include "trapline_test.h"
#include <setjmp.h>

static sigjmp_buf jb;
static void on_segv(int sig) { siglongjmp(jb, sig); }

static int faults(volatile char *p)
{
	if (sigsetjmp(jb, 1))
		return 1;
	(void)*p;
	return 0;
}

int main(void)
{
	const int n = 40;
	uint64_t sum[40];
	char *p = mmap(NULL, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < n; i++)
		sum[i] = tt_fill(p + i * 4096, 4096, i);
	if (madvise(p + 10 * 4096, 3 * 4096, 102 /* MADV_GUARD_INSTALL */) || madvise(p, 4096, 102)) {
		MUST(errno == EINVAL); // an older kernel
		tt_wait();
		tt_done();
	}
	signal(SIGSEGV, on_segv);
	MUST(faults(p + 10 * 4096) && faults(p));
	tt_wait();
	for (int i = 0; i < n; i++) {
		int guard = i == 0 || (i >= 10 && i < 13);

		CHECK(faults(p + i * 4096) == guard, "page %d %s", i, guard ? "is no guard any more" : "faults");
		if (!guard && !faults(p + i * 4096))
			CHECK(tt_sum(p + i * 4096, 4096) == sum[i], "page %d changed", i);
	}
	CHECK(!madvise(p + 10 * 4096, 3 * 4096, 103 /* MADV_GUARD_REMOVE */), "MADV_GUARD_REMOVE: %s", strerror(errno));
	CHECK(!faults(p + 11 * 4096) && p[11 * 4096] == 0, "the page behind a removed guard is not zero");
	tt_done();
}
