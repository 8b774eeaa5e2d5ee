// SPDX-License-Identifier: Apache-2.0
// A session and a process group whose leaders are dead and gone, with members that live.
#include "trapline_test.h"

static pid_t fork_below(int session, pid_t *leader)
{
	char end;
	int p[2];
	pid_t mid, pid = 0;

	MUST(pipe(p) == 0);
	mid = fork();
	if (!mid) {
		if (session)
			setsid();
		else
			setpgid(0, 0);
		pid = fork();
		if (!pid) {
			pid_t sid = getsid(0), pgid = getpgrp();
			close(p[0]);
			close(p[1]);
			tt_child_wait();
			_exit(getsid(0) == sid && getpgrp() == pgid ? 0 : 9);
		}
		if (write(p[1], &pid, sizeof(pid)) < 0)
			_exit(1);
		_exit(0);
	}
	close(p[1]);
	MUST(read(p[0], &pid, sizeof(pid)) == sizeof(pid));
	MUST(read(p[0], &end, 1) == 0); // the pipe's end: the grandchild has closed its descriptors
	close(p[0]);
	MUST(waitpid(mid, NULL, 0) == mid);
	*leader = mid;
	return pid;
}

int main(void)
{
	pid_t a, b, la, lb;

	tt_block_go();
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	a = fork_below(1, &la);
	b = fork_below(0, &lb);
	MUST(getsid(a) == la && getpgid(b) == lb && kill(la, 0) < 0 && kill(lb, 0) < 0);
	tt_wait();
	CHECK(getsid(a) == la, "session of %d is %d, expected %d", a, getsid(a), la);
	CHECK(getpgid(b) == lb, "group of %d is %d, expected %d", b, getpgid(b), lb);
	CHECK(kill(la, 0) < 0 && errno == ESRCH, "the dead session leader %d is there", la);
	CHECK(kill(lb, 0) < 0 && errno == ESRCH, "the dead group leader %d is there", lb);
	kill(a, TT_GO);
	tt_reap(a, 0);
	kill(b, TT_GO);
	tt_reap(b, 0);
	CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "there are more children than before");
	tt_done();
}
