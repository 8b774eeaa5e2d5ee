// SPDX-License-Identifier: Apache-2.0
// Threads in three thousand supplementary groups.
#include "trapline_test.h"
#include <grp.h>
#include <pthread.h>

#define N 3000

static pthread_barrier_t start, stop;

static void *work(void *arg)
{
	gid_t got[N];

	pthread_barrier_wait(&start);
	pthread_barrier_wait(&stop);
	return (void *)(long)(getgroups(N, got) == N && got[N - 1] == 10000 + N - 1);
}

int main(void)
{
	gid_t groups[N];
	pthread_t t[3];
	void *ok;

	for (int i = 0; i < N; i++)
		groups[i] = 10000 + i;
	MUST(!setgroups(N, groups));
	MUST(!pthread_barrier_init(&start, NULL, 4) && !pthread_barrier_init(&stop, NULL, 4));
	for (int i = 0; i < 3; i++)
		MUST(!pthread_create(&t[i], NULL, work, NULL));
	pthread_barrier_wait(&start);
	tt_wait();
	pthread_barrier_wait(&stop);
	for (int i = 0; i < 3; i++) {
		MUST(!pthread_join(t[i], &ok));
		CHECK(ok, "thread %d has lost groups", i);
	}
	tt_done();
}
