// SPDX-License-Identifier: Apache-2.0
// Zombies between live processes, each of which has many descriptors of its own: what one gets must not reach another.
#include "trapline_test.h"
#include <sched.h>

static void open_many(int n, const char *dir)
{
	char path[64];

	MUST(!mkdir(dir, 0755));
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%d", dir, i);
		int fd = open(path, O_RDWR | O_CREAT, 0600);
		MUST(fd >= 0 && write(fd, path, strlen(path)) == (ssize_t)strlen(path) && fcntl(fd, i % 3 ? F_DUPFD : F_DUPFD_CLOEXEC, 100 + i) == 100 + i);
		close(fd);
	}
}

static int check_many(int n, const char *dir)
{
	char path[64], got[64];

	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%d", dir, i);
		memset(got, 0, sizeof(got));
		if (pread(100 + i, got, sizeof(got) - 1, 0) < 0 || strcmp(got, path))
			return 0;
		if (lseek(100 + i, 0, SEEK_CUR) != (off_t)strlen(path) || fcntl(100 + i, F_GETFL) & (O_NONBLOCK | O_APPEND))
			return 0;
		if (fcntl(100 + i, F_GETFD) != (i % 3 ? 0 : FD_CLOEXEC))
			return 0;
	}
	return 1;
}

int main(void)
{
	volatile int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t zombies[3], child;
	siginfo_t si;

	tt_block_go();
	for (int i = 0; i < 3; i++)
		if (!(zombies[i] = fork()))
			_exit(i);
	for (int i = 0; i < 3; i++)
		MUST(!waitid(P_PID, zombies[i], &si, WEXITED | WNOWAIT));
	if (!(child = fork())) {
		open_many(24, "child");
		__atomic_store_n(ready, 1, __ATOMIC_SEQ_CST);
		tt_child_wait();
		_exit(!check_many(24, "child"));
	}
	open_many(600, "parent");
	while (!__atomic_load_n(ready, __ATOMIC_SEQ_CST))
		sched_yield();
	tt_wait();
	CHECK(check_many(600, "parent"), "the parent's files are mixed up");
	for (int i = 0; i < 3; i++)
		tt_reap(zombies[i], i);
	kill(child, TT_GO);
	tt_reap(child, 0);
	tt_done();
}
