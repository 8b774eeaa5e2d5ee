// SPDX-License-Identifier: Apache-2.0
// Much memory: argv[1] MiB of private pages, no two alike. With argv[2] = "holes" only every second page is touched, so that
// the images have as many runs of pages as there can be.
#include "trapline_test.h"

#define PAGE 4096UL

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	size_t step = argc > 2 && !strcmp(argv[2], "holes") ? 2 : 1;
	size_t pages = (mib << 20) / PAGE * step;
	unsigned char *area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t wrong = 0;

	MUST(mib && area != MAP_FAILED);
	MUST(!madvise(area, pages * PAGE, MADV_NOHUGEPAGE));
	for (size_t i = 0; i < pages; i += step) {
		memset(area + i * PAGE, 0xa5, PAGE);
		*(uint64_t *)(area + i * PAGE) = i;
	}
	tt_wait();
	for (size_t i = 0; i < pages; i += step)
		wrong += *(uint64_t *)(area + i * PAGE) != i || area[i * PAGE + PAGE - 1] != 0xa5;
	CHECK(!wrong, "%zu of %zu pages changed", wrong, pages / step);
	tt_done();
}
