// SPDX-License-Identifier: Apache-2.0
// Zombies with every kind of status, one of them the leader of a process group.
#include "trapline_test.h"
#include <sys/resource.h>

static const struct { int how, value; const char *what; } cases[] = {
	{0, 0, "exit 0"}, {0, 7, "exit 7"}, {1, SIGKILL, "SIGKILL"}, {1, SIGTERM, "SIGTERM"}, {1, SIGSEGV, "SIGSEGV"},
	// With argv[1]: what CRIU gets wrong.
	{0, 255, "exit 255"}, {1, 64, "SIGRTMAX"}, {1, SIGQUIT, "SIGQUIT"},
};
#define MAX (int)(sizeof(cases) / sizeof(cases[0]))

int main(int argc, char **argv)
{
	int N = argc > 1 ? MAX : 5;
	pid_t pids[MAX];
	siginfo_t si;
	struct rlimit none = {0, 0};
	int st;

	setrlimit(RLIMIT_CORE, &none);
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			if (i == 1)
				setpgid(0, 0);
			if (!cases[i].how)
				_exit(cases[i].value);
			signal(cases[i].value, SIG_DFL);
			raise(cases[i].value);
			_exit(99);
		}
		MUST(pids[i] > 0);
	}
	for (int i = 0; i < N; i++)
		MUST(waitid(P_PID, pids[i], &si, WEXITED | WNOWAIT) == 0);
	tt_wait();
	for (int i = 0; i < N; i++) {
		memset(&si, 0, sizeof(si));
		CHECK(waitid(P_PID, pids[i], &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == pids[i], "%s: no zombie %d: %s", cases[i].what, pids[i], strerror(errno));
		if (waitpid(pids[i], &st, WNOHANG) != pids[i]) {
			CHECK(0, "%s: can't be waited for: %s", cases[i].what, strerror(errno));
			continue;
		}
		if (cases[i].how)
			CHECK(WIFSIGNALED(st) && WTERMSIG(st) == cases[i].value, "%s: status is %#x", cases[i].what, st);
		else
			CHECK(WIFEXITED(st) && WEXITSTATUS(st) == cases[i].value, "%s: status is %#x", cases[i].what, st);
	}
	tt_done();
}
