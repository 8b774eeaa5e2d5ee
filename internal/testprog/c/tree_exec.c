// SPDX-License-Identifier: Apache-2.0
// Children that execute another program, with another executable, arguments and environment.
#include "trapline_test.h"

int main(int argc, char **argv)
{
	pid_t pid;
	int st;

	if (argc > 1 && !strcmp(argv[1], "child")) {
		kill(getppid(), SIGUSR2);
		tt_child_wait();
		_exit(getenv("TREE") && !strcmp(getenv("TREE"), "oak") ? 0 : 3);
	}
	sigset_t set;
	tt_block_go();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setenv("TREE", "oak", 1);
	pid = vfork();
	if (!pid) {
		execl("/proc/self/exe", "another-name", "child", NULL);
		_exit(1);
	}
	sigwaitinfo(&set, NULL);
	tt_wait();
	kill(pid, TT_GO);
	st = 0;
	tt_reap(pid, st);
	tt_done();
}
