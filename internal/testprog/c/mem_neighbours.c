// SPDX-License-Identifier: Apache-2.0
// Two neighbouring maps, of 6/10 of all memory each, that differ in nothing but an advice: each alone is small enough for the kernel's
// heuristic (vm.overcommit_memory 0), both in one call would not be.
#include "trapline_test.h"
#include <sys/sysinfo.h>

int main(void)
{
	struct sysinfo info;
	size_t size;
	char *p;

	MUST(!sysinfo(&info));
	size = (info.totalram + info.totalswap) * info.mem_unit / 10 * 6 & ~0x1fffffUL;
	p = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	MUST(p != MAP_FAILED);
	MUST(mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	MUST(!madvise(p, size, MADV_DONTDUMP));
	MUST(mmap(p + size, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + size);
	p[0] = 1;
	p[size] = 2;
	tt_wait();
	CHECK(p[0] == 1 && p[size] == 2, "contents changed: %d %d", p[0], p[size]);
	p[2 * size - 1] = 3;
	tt_done();
}
