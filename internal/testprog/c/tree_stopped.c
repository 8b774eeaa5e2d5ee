// SPDX-License-Identifier: Apache-2.0
// A stopped child stays stopped, and goes on when it is told to.
#include "trapline_test.h"

static char state(pid_t pid)
{
	char path[64], text[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(text, sizeof(text), f))
			text[0] = 0;
		fclose(f);
	}
	char *p = strrchr(text, ')');
	return p ? p[2] : '?';
}

int main(void)
{
	int st;
	pid_t pid;

	tt_block_go();
	pid = fork();
	if (!pid) {
		raise(SIGSTOP);
		tt_child_wait();
		_exit(5);
	}
	MUST(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st));
	MUST(state(pid) == 'T');
	tt_wait();
	CHECK(state(pid) == 'T', "child is in state %c, expected T", state(pid));
	kill(pid, TT_GO);
	CHECK(state(pid) == 'T', "child is in state %c after a signal, expected T", state(pid));
	kill(pid, SIGCONT);
	tt_reap(pid, 5);
	tt_done();
}
