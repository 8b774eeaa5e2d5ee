// SPDX-License-Identifier: Apache-2.0
// A thread is dumped while it is blocked in a system call; argv[1] names which. After the restore the call goes on, is
// restarted, or ends with EINTR, as the kernel's own rules say for a stop and a continue.
#include "trapline_test.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char *mode;
static int p[2], sv[2], ep, listener;
static volatile int futex_word, finish;
static volatile pid_t tid, kid;
static volatile int64_t began, ended;
static long result;
static int err;
static struct timespec deadline, rest;
#define LONG_MS 400

static int is(const char *name) { return !strcmp(mode, name); }

static void *call(void *arg)
{
	struct timespec ts = {0, LONG_MS * 1000000};
	struct pollfd pfd = {p[0], POLLIN, 0};
	struct epoll_event ev;
	char buf[64];
	fd_set rd;
	sigset_t set;
	siginfo_t si;

	FD_ZERO(&rd);
	FD_SET(p[0], &rd);
	sigemptyset(&set);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_nsec += LONG_MS * 1000000;
	deadline.tv_sec += deadline.tv_nsec / 1000000000;
	deadline.tv_nsec %= 1000000000;
	began = tt_now();
	tid = gettid();
	errno = 0;
	if (is("nanosleep"))
		result = syscall(SYS_nanosleep, &ts, &rest);
	else if (is("clock_nanosleep"))
		result = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, &rest);
	else if (is("clock_nanosleep_abs"))
		result = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL);
	else if (is("poll"))
		result = poll(&pfd, 1, 600000);
	else if (is("poll_timeout"))
		result = poll(&pfd, 1, LONG_MS);
	else if (is("poll_forever"))
		result = poll(&pfd, 1, -1);
	else if (is("ppoll"))
		result = ppoll(&pfd, 1, NULL, &set);
	else if (is("select"))
		result = select(p[0] + 1, &rd, NULL, NULL, NULL);
	else if (is("pselect"))
		result = pselect(p[0] + 1, &rd, NULL, NULL, NULL, &set);
	else if (is("epoll_wait"))
		result = epoll_wait(ep, &ev, 1, -1);
	else if (is("futex"))
		result = syscall(SYS_futex, &futex_word, FUTEX_WAIT, 0, NULL, NULL, 0);
	else if (is("futex_timeout"))
		result = syscall(SYS_futex, &futex_word, FUTEX_WAIT, 0, &ts, NULL, 0);
	else if (is("futex_bitset"))
		result = syscall(SYS_futex, &futex_word, FUTEX_WAIT_BITSET, 0, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
	else if (is("read_pipe"))
		result = read(p[0], buf, sizeof(buf));
	else if (is("write_pipe"))
		result = write(p[1], "0123456789", 10);
	else if (is("accept"))
		result = accept(listener, NULL, NULL);
	else if (is("recv"))
		result = recv(sv[0], buf, sizeof(buf), 0);
	else if (is("recvmsg_waitall"))
		result = recv(sv[0], buf, 5, MSG_WAITALL);
	else if (is("wait4"))
		result = waitpid(kid, NULL, 0);
	else if (is("waitid"))
		result = waitid(P_PID, kid, &si, WEXITED);
	else if (is("sigsuspend")) {
		sigfillset(&set);
		sigdelset(&set, SIGUSR2);
		result = sigsuspend(&set);
	} else if (is("pause"))
		result = pause();
	else if (is("sigtimedwait")) {
		sigaddset(&set, SIGUSR1);
		result = sigtimedwait(&set, &si, NULL);
	}
	err = errno;
	ended = tt_now();
	// It may be done before the test looks at /proc: it stays until the check.
	while (!finish)
		syscall(SYS_futex, &finish, FUTEX_WAIT, 0, NULL, NULL, 0);
	return NULL;
}

static void handler(int sig) {}

// call_now says which system call the thread sleeps in, and its first argument. It returns 0 while the thread runs.
static int call_now(char *what, size_t size)
{
	char path[64], text[256] = "";
	unsigned long arg;
	long nr = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(text, sizeof(text), f))
			text[0] = 0;
		fclose(f);
	}
	if (sscanf(text, "%ld %lx", &nr, &arg) != 2 || nr < 0)
		return 0;
	snprintf(what, size, "%ld %lx", nr, arg);
	return 1;
}

static char blocked_in[64];

// blocked waits until the thread sleeps in the kernel, and if again is set in the call of the first time (or in
// restart_syscall), unless that has ended.
static void blocked(int again)
{
	char what[64] = "";

	while (!tid)
		sched_yield();
	while (!ended) {
		if (call_now(what, sizeof(what)) && (!again || !strcmp(what, blocked_in) || atoi(what) == SYS_restart_syscall))
			break;
		sched_yield();
	}
	if (!again)
		strcpy(blocked_in, what);
}

int main(int argc, char **argv)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	pthread_t th;
	sigset_t set, old;
	int eintr = 0, c = -1;
	long want = 0;
	char big[65536];

	mode = argc > 1 ? argv[1] : "";
	MUST(!pipe(p) && !socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sa.sun_path, "listening");
	if (is("accept"))
		MUST(!bind(listener, (void *)&sa, sizeof(sa)) && !listen(listener, 5));
	else
		close(listener);
	if (is("epoll_wait")) {
		struct epoll_event ev = {.events = EPOLLIN};
		ep = epoll_create1(0);
		MUST(!epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	}
	if (is("write_pipe")) {
		memset(big, 'x', sizeof(big));
		MUST(write(p[1], big, sizeof(big)) == sizeof(big));
	}
	tt_block_go(); // SIGUSR1, for the child and sigtimedwait
	if (is("wait4") || is("waitid")) {
		kid = fork();
		if (!kid) {
			tt_child_wait();
			_exit(3);
		}
	}
	signal(SIGUSR2, handler);
	if (is("sigsuspend")) {
		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
	}
	MUST(!pthread_create(&th, NULL, call, NULL));
	// Signals for the waiting thread must not be taken by this one.
	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	blocked(0);
	tt_wait();
	// A call that is restarted must be so before it has a reason to return; but sigsuspend, which loses no signal.
	if (!is("sigsuspend"))
		blocked(1);
	// Let it end.
	if (is("nanosleep") || is("clock_nanosleep")) {
		eintr = 1; // ERESTART_RESTARTBLOCK can't be carried over
	} else if (is("clock_nanosleep_abs") || is("futex_timeout")) {
		want = is("futex_timeout") ? -1 : 0;
	} else if (strstr(mode, "poll") || strstr(mode, "select") || is("read_pipe")) {
		want = is("poll_timeout") ? 0 : 1;
		if (!is("poll_timeout"))
			MUST(write(p[1], "x", 1) == 1);
		eintr = !strncmp(mode, "poll", 4) || is("epoll_wait"); // poll has a restart block
	} else if (!strncmp(mode, "futex", 5)) {
		futex_word = 1;
		while (!ended) {
			syscall(SYS_futex, &futex_word, FUTEX_WAKE, 1, NULL, NULL, 0);
			sched_yield();
		}
	} else if (is("write_pipe")) {
		want = 10;
		MUST(read(p[0], big, sizeof(big)) == sizeof(big));
	} else if (is("accept")) {
		c = socket(AF_UNIX, SOCK_STREAM, 0);
		CHECK(!connect(c, (void *)&sa, sizeof(sa)), "connect: %s", strerror(errno));
		want = -2; // any descriptor
	} else if (is("recv") || is("recvmsg_waitall")) {
		want = is("recv") ? 3 : 5;
		MUST(write(sv[1], "abc", 3) == 3);
		if (is("recvmsg_waitall"))
			MUST(write(sv[1], "de", 2) == 2);
	} else if (is("wait4") || is("waitid")) {
		want = is("wait4") ? kid : 0;
		kill(kid, TT_GO);
	} else if (is("sigsuspend") || is("pause")) {
		want = -1;
		pthread_kill(th, SIGUSR2);
	} else if (is("sigtimedwait")) {
		want = SIGUSR1;
		eintr = 1;
		while (!ended) {
			pthread_kill(th, SIGUSR1);
			sched_yield();
		}
	}
	finish = 1;
	syscall(SYS_futex, &finish, FUTEX_WAKE, 1, NULL, NULL, 0);
	pthread_join(th, NULL);
	long ms = (ended - began) / 1000000;
	if (eintr && result == -1 && err == EINTR) {
		if (is("nanosleep") || is("clock_nanosleep"))
			CHECK(rest.tv_sec == 0 && rest.tv_nsec > 0 && rest.tv_nsec <= LONG_MS * 1000000, "remaining time is %ld.%09ld", (long)rest.tv_sec, rest.tv_nsec);
		tt_done();
	}
	if (want == -2)
		CHECK(result >= 0, "%s = %ld: %s", mode, result, strerror(err));
	else
		CHECK(result == want, "%s = %ld (%s), expected %ld", mode, result, strerror(err), want);
	if (is("sigsuspend") || is("pause"))
		CHECK(err == EINTR, "%s: errno %d, expected EINTR", mode, err);
	if (is("futex_timeout"))
		CHECK(err == ETIMEDOUT || err == EINTR, "%s: errno %d", mode, err);
	if (is("clock_nanosleep_abs") || is("nanosleep") || is("clock_nanosleep"))
		CHECK(ms >= LONG_MS - 1, "%s ended after %ld ms, expected %d or more", mode, ms, LONG_MS);
	tt_done();
}
