// SPDX-License-Identifier: Apache-2.0
// only: amd64
// flags: -mamx-tile
// AMX tiles hold data across the dump. On a CPU without AMX there is nothing to check.
#include "trapline_test.h"
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>

static struct {
	uint8_t palette, start, reserved[14];
	uint16_t colsb[16];
	uint8_t rows[16];
} __attribute__((packed, aligned(64))) config = {.palette = 1};
static uint8_t in[8][16][64] __attribute__((aligned(64))), out[8][16][64] __attribute__((aligned(64)));
static volatile int go, spinning;

__attribute__((noinline)) static void *run(void *arg)
{
	__asm__ volatile("ldtilecfg %0" ::"m"(config));
	long stride = 64;
#define LOAD(n) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n ::"r"(in[n]), "r"(stride))
#define STORE(n) __asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" ::"r"(out[n]), "r"(stride) : "memory")
	LOAD(0); LOAD(1); LOAD(2); LOAD(3); LOAD(4); LOAD(5); LOAD(6); LOAD(7);
	spinning = 1;
	while (!go)
		__builtin_ia32_pause();
	STORE(0); STORE(1); STORE(2); STORE(3); STORE(4); STORE(5); STORE(6); STORE(7);
	__asm__ volatile("tilerelease");
	return arg;
}

int main(void)
{
	unsigned a, b, c, d = 0;
	pthread_t th;

	__get_cpuid_count(7, 0, &a, &b, &c, &d);
	if (!(d & (1 << 24)) || syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) != 0) {
		tt_wait();
		tt_done();
	}
	for (int i = 0; i < 8; i++) {
		config.colsb[i] = 64;
		config.rows[i] = 16;
	}
	tt_fill(in, sizeof(in), 99);
	MUST(!pthread_create(&th, NULL, run, NULL));
	while (!spinning)
		sched_yield();
	tt_wait();
	go = 1;
	pthread_join(th, NULL);
	for (int i = 0; i < 8; i++)
		CHECK(!memcmp(in[i], out[i], sizeof(in[i])), "tile %d differs", i);
	unsigned long perm = 0;
	CHECK(!syscall(SYS_arch_prctl, 0x1022 /* ARCH_GET_XCOMP_PERM */, &perm) && (perm & (1 << 18)), "the permission to use tiles is gone: %#lx", perm);
	tt_done();
}
