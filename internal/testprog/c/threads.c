// SPDX-License-Identifier: Apache-2.0
// argv[1] threads, each with state of its own that it checks: name, TLS, registers across the dump, signal mask,
// alternate stack, robust list, rseq, tid address, scheduling, nice; with argv[2] also
// affinity, timer slack and I/O priority, for which CRIU's images have no field.
#include "trapline_test.h"
#include <linux/futex.h>
#include <linux/ioprio.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/rseq.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

#define MAXTHREADS 2000
static __thread long tls[4];
static volatile int set_up, go, wrong[32], finished;
static int nthreads, extra;
static pid_t tids[MAXTHREADS];

enum { W_NAME, W_TLS, W_TID, W_MASK, W_STACK, W_ROBUST, W_RSEQ, W_TIDADDR, W_POLICY, W_NICE, W_AFFINITY, W_SLACK, W_IOPRIO, W_SEED, W_ERRNO, W_SELF, W_N };
static const char *const names[] = {"name", "TLS", "tid", "signal mask", "alternate stack", "robust list", "rseq", "tid address", "policy", "nice", "affinity", "timer slack", "ioprio", "local variables", "errno", "pthread_self" };

static void futex_wait(volatile int *f, int val)
{
	while (__atomic_load_n(f, __ATOMIC_SEQ_CST) == val)
		syscall(SYS_futex, f, FUTEX_WAIT, val, NULL, NULL, 0);
}

static void bump(volatile int *f)
{
	__atomic_add_fetch(f, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, f, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

#define WRONG(w, cond)                                              \
	do {                                                        \
		if (!(cond))                                        \
			__atomic_add_fetch(&wrong[w], 1, __ATOMIC_SEQ_CST); \
	} while (0)

struct state {
	char name[16];
	sigset_t mask;
	stack_t ss;
	void *robust;
	size_t robust_len;
	void *tidaddr;
	int policy, nice, ioprio;
	unsigned long slack;
	cpu_set_t cpus;
};

static void read_state(struct state *s)
{
	memset(s, 0, sizeof(*s));
	prctl(PR_GET_NAME, s->name);
	sigprocmask(SIG_SETMASK, NULL, &s->mask);
	sigaltstack(NULL, &s->ss);
	syscall(SYS_get_robust_list, 0, &s->robust, &s->robust_len);
	prctl(PR_GET_TID_ADDRESS, &s->tidaddr);
	s->policy = sched_getscheduler(0);
	s->nice = getpriority(PRIO_PROCESS, gettid());
	s->ioprio = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
	s->slack = prctl(PR_GET_TIMERSLACK);
	sched_getaffinity(0, sizeof(s->cpus), &s->cpus);
}

static void *run(void *arg)
{
	long i = (long)arg;
	char name[16];
	sigset_t mask;
	stack_t ss = {.ss_size = 16384, .ss_flags = i % 3 == 2 ? SS_AUTODISARM : 0};
	cpu_set_t one;
	struct state before, after;
	volatile double seed = i * 1.25;
	pid_t tid = gettid();
	pthread_t self = pthread_self();

	snprintf(name, sizeof(name), "thread-%ld", i);
	prctl(PR_SET_NAME, name);
	for (int k = 0; k < 4; k++)
		tls[k] = i * 10 + k;
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + i % 20);
	sigaddset(&mask, 1 + i % 8);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	ss.ss_sp = malloc(ss.ss_size);
	MUST(sigaltstack(&ss, NULL) == 0);
	if (i % 4 == 1) {
		struct sched_param sp = {0};
		MUST(sched_setscheduler(0, SCHED_BATCH, &sp) == 0);
	} else if (i % 4 == 2) {
		struct sched_param sp = {0};
		MUST(sched_setscheduler(0, SCHED_IDLE, &sp) == 0);
	}
	MUST(setpriority(PRIO_PROCESS, tid, i % 20) == 0);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (extra && i % 2)
		MUST(sched_setaffinity(0, sizeof(one), &one) == 0);
	if (extra)
		MUST(prctl(PR_SET_TIMERSLACK, 70000 + i) == 0);
	if (extra)
		MUST(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, i % 8)) == 0);
	read_state(&before);
	tids[i] = tid;
	errno = 1000 + i;

	bump(&set_up);
	futex_wait(&go, 0);

	WRONG(W_ERRNO, errno == 1000 + i || errno == EAGAIN || errno == EINTR);
	read_state(&after);
	WRONG(W_NAME, !strcmp(after.name, name));
	for (int k = 0; k < 4; k++)
		WRONG(W_TLS, tls[k] == i * 10 + k);
	WRONG(W_TID, gettid() == tid);
	WRONG(W_MASK, !memcmp(&after.mask, &before.mask, 8));
	WRONG(W_STACK, after.ss.ss_sp == before.ss.ss_sp && after.ss.ss_size == before.ss.ss_size && after.ss.ss_flags == before.ss.ss_flags);
	WRONG(W_ROBUST, after.robust == before.robust && after.robust_len == before.robust_len);
	WRONG(W_TIDADDR, after.tidaddr == before.tidaddr && after.tidaddr);
	WRONG(W_POLICY, after.policy == before.policy);
	WRONG(W_NICE, after.nice == before.nice && after.nice == i % 20);
	WRONG(W_AFFINITY, !memcmp(&after.cpus, &before.cpus, sizeof(one)));
	WRONG(W_SLACK, after.slack == before.slack && (!extra || after.slack == 70000 + i));
	WRONG(W_IOPRIO, after.ioprio == before.ioprio);
	WRONG(W_SEED, seed == i * 1.25);
	WRONG(W_SELF, pthread_equal(self, pthread_self()));
	// glibc registered rseq; to register it once more with the same arguments is EBUSY, and EINVAL would mean other ones
	// or none. (It does so on riscv64 only since 2.43, which has the signature.)
#ifdef RSEQ_SIG
	if (__rseq_size) {
		struct rseq *r = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
		long got = syscall(SYS_rseq, r, 32, 0, RSEQ_SIG);

		WRONG(W_RSEQ, got < 0 && errno == EBUSY && (int)r->cpu_id >= 0);
	}
#endif
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
	return (void *)(i + 1);
}

int main(int argc, char **argv)
{
	pthread_t th[MAXTHREADS];
	pthread_attr_t attr;
	struct state before, after;

	nthreads = argc > 1 ? atoi(argv[1]) : 1;
	extra = argc > 2;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (long i = 0; i < nthreads - 1; i++)
		MUST(!pthread_create(&th[i], &attr, run, (void *)i));
	for (int n; (n = set_up) < nthreads - 1;)
		futex_wait(&set_up, n);
	if (extra)
		prctl(PR_SET_TIMERSLACK, 123456);
	read_state(&before);
	tt_wait();
	read_state(&after);
	CHECK(!memcmp(&before.mask, &after.mask, 8) && before.robust == after.robust && before.tidaddr == after.tidaddr && before.slack == after.slack &&
		      before.policy == after.policy && before.nice == after.nice && before.ioprio == after.ioprio,
	      "state of the main thread changed (slack %lu→%lu, ioprio %d→%d)", before.slack, after.slack, before.ioprio, after.ioprio);
	go = 1;
	bump(&go);
	for (long i = 0; i < nthreads - 1; i++) {
		void *ret = NULL;
		int err = pthread_join(th[i], &ret);
		CHECK(!err && ret == (void *)(i + 1), "pthread_join of thread %ld: %s", i, strerror(err));
	}
	CHECK(finished == nthreads - 1, "%d threads finished, expected %d", finished, nthreads - 1);
	for (int w = 0; w < W_N; w++)
		CHECK(!wrong[w], "%s is wrong in %d of %d threads", names[w], wrong[w], nthreads);
	tt_done();
}
