// SPDX-License-Identifier: Apache-2.0
// only: amd64
// Segment bases: FS is the thread pointer, GS is free for a program to use; segment registers may hold a selector.
#include "trapline_test.h"
#include <asm/prctl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>

static uint64_t area[4][16];
static volatile int go, set_up;

static uint64_t gs_read(void)
{
	uint64_t v;

	__asm__ volatile("mov %%gs:8, %0" : "=r"(v));
	return v;
}

static void *run(void *arg)
{
	long i = (long)arg;
	unsigned long base = 0, fs0 = 0, fs1 = 0;

	area[i][1] = 0xabc0 + i;
	MUST(!syscall(SYS_arch_prctl, ARCH_SET_GS, area[i]));
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs0);
	__atomic_add_fetch(&set_up, 1, __ATOMIC_SEQ_CST);
	while (!go)
		syscall(SYS_futex, &go, FUTEX_WAIT, 0, NULL, NULL, 0);
	CHECK(!syscall(SYS_arch_prctl, ARCH_GET_GS, &base) && base == (unsigned long)area[i], "gs base is %#lx, expected %p", base, area[i]);
	CHECK(gs_read() == 0xabc0 + i, "gs:8 is %#lx", gs_read());
	CHECK(!syscall(SYS_arch_prctl, ARCH_GET_FS, &fs1) && fs0 == fs1, "fs base is %#lx, expected %#lx", fs1, fs0);
	return NULL;
}

int main(void)
{
	pthread_t th[3];

	for (long i = 0; i < 3; i++)
		MUST(!pthread_create(&th[i], NULL, run, (void *)i));
	while (set_up < 3)
		sched_yield();
	area[3][1] = 77;
	MUST(!syscall(SYS_arch_prctl, ARCH_SET_GS, area[3]));
	tt_wait();
	CHECK(gs_read() == 77, "gs:8 of the main thread is %ld, expected 77", gs_read());
	go = 1;
	syscall(SYS_futex, &go, FUTEX_WAKE, 3, NULL, NULL, 0);
	for (int i = 0; i < 3; i++)
		pthread_join(th[i], NULL);
	tt_done();
}
