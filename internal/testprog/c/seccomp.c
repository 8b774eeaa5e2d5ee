// SPDX-License-Identifier: Apache-2.0
// Seccomp filters. argv[1]: "filter" (two of them, for the whole process), "thread" (one thread has one more),
// "strict" (a child in strict mode).
#include "trapline_test.h"
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

static void deny(int nr, int err, int flags)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {4, f};

	MUST(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p));
}

static volatile int set_up, go;

static int denied(int nr, int err)
{
	errno = 0;
	return syscall(nr, 0, 0, 0) == -1 && errno == err;
}

static void *run(void *arg)
{
	if (arg)
		deny(SYS_getuid, 77, 0);
	__atomic_add_fetch(&set_up, 1, __ATOMIC_SEQ_CST);
	while (!go)
		syscall(SYS_futex, &go, FUTEX_WAIT, 0, NULL, NULL, 0);
	CHECK(denied(SYS_getgid, 55), "thread: getgid is not denied");
	CHECK(denied(SYS_getuid, 77) == !!arg, "thread: getuid is %s", arg ? "not denied" : "denied");
	return NULL;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	pthread_t th[2];
	int n = 0, p[2];

	if (!strcmp(mode, "strict")) {
		char c = 0;
		pid_t pid;
		MUST(!pipe(p));
		pid = fork();
		if (!pid) {
			MUST(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
			if (read(p[0], &c, 1) != 1)
				syscall(SYS_exit, 1);
			syscall(SYS_exit, c);
		}
		for (;;) { // until it is in read
			char path[64], text[64] = "";
			FILE *f;
			snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
			f = fopen(path, "re");
			if (f && fgets(text, sizeof(text), f) && text[0] != 'r' && atoi(text) == SYS_read) { // or "running"
				fclose(f);
				break;
			}
			if (f)
				fclose(f);
			sched_yield();
		}
		tt_wait();
		MUST(write(p[1], "\x09", 1) == 1);
		tt_reap(pid, 9);
		tt_done();
	}
	MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	deny(SYS_getgid, 55, 0);
	deny(SYS_getegid, 56, SECCOMP_FILTER_FLAG_LOG);
	if (!strcmp(mode, "thread")) {
		n = 2;
		for (long i = 0; i < n; i++)
			MUST(!pthread_create(&th[i], NULL, run, (void *)i));
		while (set_up < n)
			sched_yield();
	}
	tt_wait();
	CHECK(denied(SYS_getgid, 55), "getgid is not denied");
	CHECK(denied(SYS_getegid, 56), "getegid is not denied");
	CHECK(syscall(SYS_getuid) == 0, "getuid is denied");
	CHECK(prctl(PR_GET_SECCOMP) == 2, "seccomp mode is %d, expected 2", prctl(PR_GET_SECCOMP));
	go = 1;
	syscall(SYS_futex, &go, FUTEX_WAKE, 2, NULL, NULL, 0);
	for (int i = 0; i < n; i++)
		pthread_join(th[i], NULL);
	pid_t pid = fork();
	if (!pid)
		_exit(denied(SYS_getgid, 55) ? 0 : 1);
	tt_reap(pid, 0);
	tt_done();
}
