// SPDX-License-Identifier: Apache-2.0
// A chain of 50 tasks, each the child of the one before.
#include "trapline_test.h"
#include <sched.h>

static volatile int *ready;

static int chain(int n)
{
	pid_t parent = getppid(), kid = 0;
	int st = 0, bad = 0;

	if (n < 50) {
		kid = fork();
		if (kid < 0)
			return 30;
		if (!kid)
			_exit(chain(n + 1));
	}
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
	if (n == 1) {
		while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < 50)
			sched_yield();
		tt_wait();
	} else {
		tt_child_wait();
		if (getppid() != parent)
			bad = 31;
	}
	if (kid) {
		kill(kid, TT_GO);
		if (waitpid(kid, &st, 0) != kid || !WIFEXITED(st))
			bad = 32;
		else if (WEXITSTATUS(st))
			bad = WEXITSTATUS(st);
	}
	return bad;
}

int main(void)
{
	int bad;

	tt_block_go();
	ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bad = chain(1);
	CHECK(!bad, "a task of the chain is wrong: %d", bad);
	tt_done();
}
