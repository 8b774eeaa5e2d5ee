// SPDX-License-Identifier: Apache-2.0
// Sessions and process groups below the root: a child leads a session, its children lead and join groups.
#include "trapline_test.h"
#include <sched.h>

enum { LEADER, GROUP, MEMBER, SAMEGROUP, N };
static struct { pid_t pid, ppid, sid, pgid; } *want;
static volatile int *ready;

static void record(int i)
{
	want[i].pid = getpid();
	want[i].ppid = getppid();
	want[i].sid = getsid(0);
	want[i].pgid = getpgrp();
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
}

static int same(int i)
{
	return want[i].pid == getpid() && want[i].ppid == getppid() && want[i].sid == getsid(0) && want[i].pgid == getpgrp();
}

static void simple(int i)
{
	record(i);
	tt_child_wait();
	_exit(same(i) ? 0 : 60 + i);
}

int main(void)
{
	pid_t leader, kids[3];
	int st, bad = 0;

	tt_block_go();
	want = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	leader = fork();
	if (!leader) {
		if (setsid() < 0)
			_exit(40);
		if (!(kids[0] = fork())) {
			setpgid(0, 0);
			simple(GROUP);
		}
		setpgid(kids[0], kids[0]);
		if (!(kids[1] = fork())) {
			setpgid(0, kids[0]);
			simple(MEMBER);
		}
		if (!(kids[2] = fork()))
			simple(SAMEGROUP);
		record(LEADER);
		tt_child_wait();
		if (!same(LEADER))
			bad = 60;
		for (int i = 0; i < 3; i++) {
			kill(kids[i], TT_GO);
			if (waitpid(kids[i], &st, 0) != kids[i] || !WIFEXITED(st) || WEXITSTATUS(st))
				bad = WIFEXITED(st) ? WEXITSTATUS(st) : 41;
		}
		_exit(bad);
	}
	while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < N)
		sched_yield();
	MUST(want[GROUP].pgid == want[GROUP].pid && want[MEMBER].pgid == want[GROUP].pid && want[LEADER].sid == leader);
	tt_wait();
	CHECK(getsid(leader) == leader, "session of %d is %d", leader, getsid(leader));
	CHECK(getpgid(want[MEMBER].pid) == want[GROUP].pid, "group of %d is %d, expected %d", want[MEMBER].pid, getpgid(want[MEMBER].pid), want[GROUP].pid);
	kill(leader, TT_GO);
	tt_reap(leader, 0);
	tt_done();
}
