// SPDX-License-Identifier: Apache-2.0
// 32 MiB that a parent and three children share copy-on-write. The test looks at the size of the images, and the
// program at how much memory the tree takes after: Pss over all must not be four times as much.
#include "trapline_test.h"
#include <sched.h>

#define SIZE (32 << 20)

static long pss(pid_t pid)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

int main(void)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t sum;
	pid_t kids[3];
	long total;

	tt_block_go();
	madvise(p, SIZE, MADV_NOHUGEPAGE);
	tt_fill(p, SIZE, 9);
	for (int i = 0; i < 3; i++) {
		kids[i] = fork();
		if (!kids[i]) {
			p[i * 4096] = i; // one page of its own
			sum = tt_sum(p, SIZE);
			__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
			tt_child_wait();
			if (tt_sum(p, SIZE) != sum || p[i * 4096] != i)
				_exit(1);
			p[4096 * 100] = 5;
			_exit(0);
		}
	}
	while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < 3)
		sched_yield();
	sum = tt_sum(p, SIZE);
	tt_wait();
	total = pss(getpid());
	for (int i = 0; i < 3; i++)
		total += pss(kids[i]);
	CHECK(tt_sum(p, SIZE) == sum, "contents changed in the parent");
	for (int i = 0; i < 3; i++) {
		kill(kids[i], TT_GO);
		tt_reap(kids[i], 0);
	}
	CHECK(tt_sum(p, SIZE) == sum, "a child's store is seen in the parent");
	CHECK(total < 2 * SIZE / 1024, "the tree takes %ld kB, expected about %d: pages are no longer shared", total, SIZE / 1024);
	tt_done();
}
