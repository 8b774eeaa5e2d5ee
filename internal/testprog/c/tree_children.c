// SPDX-License-Identifier: Apache-2.0
// Three levels of three children. Each task checks its ids and those of its relatives, and tells by its exit status.
#include "trapline_test.h"
#include <sched.h>

#define WIDTH 3
#define DEPTH 3

static volatile int *ready; // shared counter, so that "ready" means the whole tree

static int node(int depth)
{
	pid_t kids[WIDTH], self = getpid(), parent = getppid(), sid = getsid(0), pgid = getpgrp();
	int wrong = 0, st;

	if (depth < DEPTH)
		for (int i = 0; i < WIDTH; i++) {
			kids[i] = fork();
			if (kids[i] < 0)
				return 50;
			if (!kids[i])
				_exit(node(depth + 1));
		}
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
	if (depth)
		tt_child_wait();
	else {
		while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < 1 + 3 + 9 + 27)
			sched_yield();
		tt_wait();
	}
	if (getpid() != self || gettid() != self || (depth && getppid() != parent) || getsid(0) != sid || getpgrp() != pgid)
		wrong = 51;
	if (depth < DEPTH)
		for (int i = 0; i < WIDTH; i++) {
			kill(kids[i], TT_GO);
			if (waitpid(kids[i], &st, 0) != kids[i] || !WIFEXITED(st))
				wrong = 52;
			else if (WEXITSTATUS(st))
				wrong = WEXITSTATUS(st);
		}
	return wrong;
}

int main(void)
{
	int wrong;

	tt_block_go();
	ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	wrong = node(0);
	CHECK(wrong == 0, "a task of the tree is wrong: %d (51: ids, 52: wait)", wrong);
	CHECK(waitpid(-1, NULL, 0) < 0 && errno == ECHILD, "more children than before");
	tt_done();
}
