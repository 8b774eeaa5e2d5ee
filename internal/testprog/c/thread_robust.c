// SPDX-License-Identifier: Apache-2.0
// A thread that dies after the restore with a robust mutex held: its owner-died state must arrive, and the exit of a
// thread must clear its tid word and wake who joins.
#include "trapline_test.h"
#include <pthread.h>

static pthread_mutex_t m;
static pthread_barrier_t held;
static volatile int go;
#include <linux/futex.h>

static void *run(void *arg)
{
	pthread_mutex_lock(&m);
	pthread_barrier_wait(&held);
	while (!go)
		syscall(SYS_futex, &go, FUTEX_WAIT, 0, NULL, NULL, 0);
	return arg;
}

int main(void)
{
	pthread_mutexattr_t a;
	pthread_t th;
	void *ret = NULL;
	int err;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&m, &a);
	pthread_barrier_init(&held, NULL, 2);
	MUST(!pthread_create(&th, NULL, run, (void *)42));
	pthread_barrier_wait(&held);
	tt_wait();
	CHECK(pthread_mutex_trylock(&m) == EBUSY, "the mutex is not held");
	go = 1;
	syscall(SYS_futex, &go, FUTEX_WAKE, 1, NULL, NULL, 0);
	err = pthread_join(th, &ret);
	CHECK(!err && ret == (void *)42, "join: %s, %p", strerror(err), ret);
	err = pthread_mutex_lock(&m);
	CHECK(err == EOWNERDEAD, "lock: %s, expected EOWNERDEAD", strerror(err));
	tt_done();
}
