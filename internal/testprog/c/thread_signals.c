// SPDX-License-Identifier: Apache-2.0
// Pending signals with their siginfo: directed at a thread and at the process, standard and real-time, in order.
#include "trapline_test.h"
#include <pthread.h>
#include <sys/syscall.h>

static pthread_barrier_t set_up, go;
static sigset_t all;

static void expect(const char *who, int sig, int code, long value)
{
	struct timespec zero = {0};
	sigset_t one;
	siginfo_t si;
	int got;

	sigemptyset(&one);
	sigaddset(&one, sig);
	memset(&si, 0, sizeof(si));
	got = syscall(SYS_rt_sigtimedwait, &one, &si, &zero, 8); // glibc turns SI_TKILL into SI_USER
	CHECK(got == sig, "%s: sigtimedwait for %d = %d: %s", who, sig, got, strerror(errno));
	if (got != sig)
		return;
	CHECK(si.si_code == code, "%s: signal %d: si_code %d, expected %d", who, sig, si.si_code, code);
	CHECK(si.si_pid == getpid() && si.si_uid == getuid(), "%s: signal %d: si_pid %d si_uid %d", who, sig, si.si_pid, si.si_uid);
	if (code == SI_QUEUE)
		CHECK((long)si.si_value.sival_ptr == value, "%s: signal %d: value %ld, expected %ld", who, sig, (long)si.si_value.sival_ptr, value);
}

static void queue(pid_t tid, int sig, long value)
{
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	si.si_signo = sig;
	si.si_code = SI_QUEUE;
	si.si_pid = getpid();
	si.si_uid = getuid();
	si.si_value.sival_ptr = (void *)value;
	MUST(!syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, sig, &si));
}

static void *run(void *arg)
{
	pid_t tid = gettid();
	char who[32];

	snprintf(who, sizeof(who), "thread %ld", (long)arg);
	for (long i = 0; i < 5; i++)
		queue(tid, SIGRTMIN + 3, 100 * (long)arg + i);
	queue(tid, SIGRTMIN + 1, -7);
	queue(tid, SIGHUP, 12345);
	MUST(!syscall(SYS_tgkill, getpid(), tid, SIGTERM));
	pthread_barrier_wait(&set_up);
	pthread_barrier_wait(&go);
	expect(who, SIGRTMIN + 1, SI_QUEUE, -7);
	for (long i = 0; i < 5; i++)
		expect(who, SIGRTMIN + 3, SI_QUEUE, 100 * (long)arg + i);
	expect(who, SIGHUP, SI_QUEUE, 12345);
	expect(who, SIGTERM, SI_TKILL, 0);
	return NULL;
}

int main(void)
{
	pthread_t th[3];
	union sigval v;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	pthread_barrier_init(&set_up, NULL, 4);
	pthread_barrier_init(&go, NULL, 4);
	for (long i = 0; i < 3; i++)
		MUST(!pthread_create(&th[i], NULL, run, (void *)i));
	pthread_barrier_wait(&set_up);
	for (long i = 0; i < 10; i++) {
		v.sival_ptr = (void *)(i * i);
		MUST(!sigqueue(getpid(), SIGRTMIN + 5, v));
	}
	v.sival_ptr = (void *)0x7fffffffffffL;
	MUST(!sigqueue(getpid(), SIGRTMAX, v));
	MUST(!kill(getpid(), SIGUSR1));
	MUST(!kill(getpid(), SIGCHLD));
	tt_wait();
	for (long i = 0; i < 10; i++)
		expect("process", SIGRTMIN + 5, SI_QUEUE, i * i);
	expect("process", SIGRTMAX, SI_QUEUE, 0x7fffffffffffL);
	expect("process", SIGUSR1, SI_USER, 0);
	expect("process", SIGCHLD, SI_USER, 0);
	pthread_barrier_wait(&go);
	for (int i = 0; i < 3; i++)
		pthread_join(th[i], NULL);
	sigset_t pending;
	sigpending(&pending);
	for (int s = 1; s < 64; s++)
		CHECK(s == 32 || s == 33 || !sigismember(&pending, s), "signal %d is pending still", s);
	tt_done();
}
