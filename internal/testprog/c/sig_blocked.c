// SPDX-License-Identifier: Apache-2.0
// SIGURG, SIGWINCH and SIGCHLD, which nobody handles, are blocked and pending: each with its value, once for the process
// and once for a thread of its own. argv[1] "main": only the first thread and that one; "worker": only that one, so that the
// first thread would ignore them.
#include "trapline_test.h"
#include <pthread.h>

static const int sigs[] = {SIGURG, SIGWINCH, SIGCHLD};
static volatile pid_t tid;
static volatile int go;

static void block(sigset_t *set)
{
	sigemptyset(set);
	for (int i = 0; i < 3; i++)
		sigaddset(set, sigs[i]);
	MUST(!pthread_sigmask(SIG_BLOCK, set, NULL));
}

// expect takes one of each from the queues, the thread's own first.
static void expect(const sigset_t *set, int value, const char *who)
{
	const struct timespec now = {0, 0};
	int seen[3] = {0};
	siginfo_t si;

	for (int n = 0; n < 3; n++) {
		if (sigtimedwait(set, &si, &now) < 0)
			break;
		CHECK(si.si_code == SI_QUEUE && si.si_value.sival_int == value + si.si_signo, "%s: signal %d has code %d, value %d", who,
		      si.si_signo, si.si_code, si.si_value.sival_int);
		for (int i = 0; i < 3; i++)
			seen[i] += sigs[i] == si.si_signo;
	}
	CHECK(seen[0] == 1 && seen[1] == 1 && seen[2] == 1, "%s: SIGURG, SIGWINCH and SIGCHLD were pending %d, %d and %d times, expected once each",
	      who, seen[0], seen[1], seen[2]);
}

static void *worker(void *arg)
{
	sigset_t set;

	block(&set);
	tid = gettid();
	while (!go)
		syscall(SYS_futex, &go, 0, 0, NULL, NULL, 0);
	expect(&set, 100, "the thread");
	return arg;
}

int main(int argc, char **argv)
{
	int both = argc < 2 || !strcmp(argv[1], "main");
	pthread_t th;
	sigset_t set;

	MUST(!pthread_create(&th, NULL, worker, NULL));
	if (both)
		block(&set);
	while (!tid)
		usleep(100);
	for (int i = 0; i < 3; i++) {
		siginfo_t si = {.si_signo = sigs[i], .si_code = SI_QUEUE, .si_pid = getpid()};

		si.si_value.sival_int = 100 + sigs[i];
		MUST(!syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, sigs[i], &si));
		si.si_value.sival_int = 200 + sigs[i];
		if (both)
			MUST(!syscall(SYS_rt_sigqueueinfo, getpid(), sigs[i], &si));
	}
	tt_wait();
	if (both)
		expect(&set, 200, "the process");
	go = 1;
	syscall(SYS_futex, &go, 1, 1, NULL, NULL, 0);
	pthread_join(th, NULL);
	tt_done();
}
