// SPDX-License-Identifier: Apache-2.0
// Many threads that come and go: thread ids have gaps and are not in order.
#include "trapline_test.h"
#include <pthread.h>
#include <linux/futex.h>
#include <sched.h>

#define N 40
static volatile int go;
static volatile pid_t tids[N];

static void *nothing(void *arg) { return arg; }

static void *run(void *arg)
{
	long i = (long)arg;
	pid_t tid = gettid();

	tids[i] = tid;
	while (!go)
		syscall(SYS_futex, &go, FUTEX_WAIT, 0, NULL, NULL, 0);
	return (void *)(long)(gettid() == tid);
}

int main(void)
{
	pthread_t th[N], other;
	void *ret;

	for (long i = 0; i < N; i++) {
		for (int k = 0; k < i % 5; k++) {
			MUST(!pthread_create(&other, NULL, nothing, NULL));
			pthread_join(other, NULL);
		}
		MUST(!pthread_create(&th[i], NULL, run, (void *)i));
	}
	for (int i = 0; i < N; i++)
		while (!tids[i])
			sched_yield();
	tt_wait();
	for (int i = 0; i < N; i++)
		CHECK(!syscall(SYS_tgkill, getpid(), tids[i], 0), "thread %d is gone", tids[i]);
	// New threads start and end as ever.
	MUST(!pthread_create(&other, NULL, nothing, (void *)5));
	CHECK(!pthread_join(other, &ret) && ret == (void *)5, "a new thread returned %p", ret);
	go = 1;
	syscall(SYS_futex, &go, FUTEX_WAKE, N, NULL, NULL, 0);
	for (int i = 0; i < N; i++)
		CHECK(!pthread_join(th[i], &ret) && ret, "thread %d has another tid", i);
	tt_done();
}
