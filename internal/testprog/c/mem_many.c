// SPDX-License-Identifier: Apache-2.0
// argv[1] tiny maps, neighbours with different protections so that they stay apart.
#include "trapline_test.h"

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 20000, lines = 0, bad = 0;
	char *p = mmap(NULL, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FILE *f;
	int c;

	MUST(p != MAP_FAILED);
	for (long i = 0; i < n; i++)
		if (i % 4 == 0 || i % 4 == 1)
			*(long *)(p + i * 4096) = i + 1;
	for (long i = 0; i < n; i += 2)
		MUST(!mprotect(p + i * 4096, 4096, PROT_READ));
	tt_wait();
	for (long i = 0; i < n; i++)
		if (*(long *)(p + i * 4096) != (i % 4 == 0 || i % 4 == 1 ? i + 1 : 0))
			bad++;
	CHECK(!bad, "%ld pages of %ld changed", bad, n);
	f = fopen("/proc/self/maps", "re");
	while ((c = fgetc(f)) != EOF)
		lines += c == '\n';
	CHECK(lines >= n && lines < n + 100, "%ld maps, expected %ld and some", lines, n);
	for (long i = 1; i < n; i += 2)
		*(long *)(p + i * 4096 + 8) = i;
	tt_done();
}
