// SPDX-License-Identifier: Apache-2.0
// A child subreaper that got a grandchild whose parent died, and that is still a subreaper after.
#include "trapline_test.h"

int main(void)
{
	int p[2], on = 0;
	char end;
	pid_t mid, orphan = 0, late = 0;

	tt_block_go();
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	MUST(pipe(p) == 0);
	mid = fork();
	if (!mid) {
		pid_t pid = fork();
		if (!pid) {
			close(p[0]);
			close(p[1]);
			tt_child_wait();
			_exit(getppid() == getsid(0) ? 8 : 9); // the root leads the session
		}
		if (write(p[1], &pid, sizeof(pid)) < 0)
			_exit(1);
		_exit(0);
	}
	close(p[1]);
	MUST(read(p[0], &orphan, sizeof(orphan)) == sizeof(orphan));
	MUST(read(p[0], &end, 1) == 0); // the pipe's end: the grandchild has closed its descriptors
	close(p[0]);
	MUST(waitpid(mid, NULL, 0) == mid);
	tt_wait();
	CHECK(prctl(PR_GET_CHILD_SUBREAPER, &on) == 0 && on == 1, "PR_GET_CHILD_SUBREAPER says %d, expected 1", on);
	kill(orphan, TT_GO);
	tt_reap(orphan, 8);

	// It works too.
	MUST(pipe(p) == 0);
	mid = fork();
	if (!mid) {
		pid_t pid = fork();
		if (!pid) {
			tt_child_wait();
			_exit(3);
		}
		if (write(p[1], &pid, sizeof(pid)) < 0)
			_exit(1);
		_exit(0);
	}
	CHECK(read(p[0], &late, sizeof(late)) == sizeof(late), "read: %s", strerror(errno));
	waitpid(mid, NULL, 0);
	kill(late, TT_GO);
	tt_reap(late, 3);
	tt_done();
}
