// SPDX-License-Identifier: Apache-2.0
// Three generations, of which the second has written all of its 80 MiB anew and shares that with the third: enough for the engine to read
// pages while the process does, into maps that are made and filled before the next is born.
#include "trapline_test.h"
#include <sched.h>

#define SIZE (80 << 20)

static char *p;
static volatile int *ready;

static void descend(int generation)
{
	uint64_t sum;
	pid_t child = 0;

	if (generation < 2)
		tt_fill(p, SIZE, 10 + generation);
	sum = tt_sum(p, SIZE);
	if (generation < 2 && !(child = fork()))
		descend(generation + 1);
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
	if (generation == 0) {
		while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < 3)
			sched_yield();
		tt_wait();
	} else {
		tt_child_wait();
	}
	if (child) {
		kill(child, TT_GO);
		tt_reap(child, 0);
	}
	CHECK(tt_sum(p, SIZE) == sum, "contents changed in generation %d", generation);
	if (generation > 0)
		_exit(tt_failed != 0);
}

int main(void)
{
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(p != MAP_FAILED && ready != MAP_FAILED);
	tt_block_go();
	descend(0);
	tt_done();
}
