// SPDX-License-Identifier: Apache-2.0
// only: riscv64
// Every vector register holds a pattern while the process is dumped and restored, with vl, vtype, vstart and vcsr. Two threads with
// different patterns spin in assembly until a flag is set, with no system call in between.
#include "trapline_test.h"
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>

#define VLENB_MAX 1024

struct image {
	uint64_t vl, vtype, vcsr, vlenb;
	volatile uint32_t go; // asm spins on it
	uint32_t spinning;
	uint8_t v[32 * VLENB_MAX] __attribute__((aligned(64)));
};

static struct image in[2], out[2];
extern void spin(struct image *in, struct image *out);

// a0: in, a1: out. Offsets are those of struct image.
__asm__(
	".option push\n.option arch, +v\n"
	".text\n.globl spin\nspin:\n"
	"csrr t1, vlenb\n slli t1, t1, 3\n" // bytes of eight registers
	"addi t0, a0, 64\n"
	".irp n,0,8,16,24\n vl8re8.v v\\n, (t0)\n add t0, t0, t1\n .endr\n"
	"ld t2, 16(a0)\n csrw vcsr, t2\n"
	"ld t2, 0(a0)\n ld t3, 8(a0)\n vsetvl zero, t2, t3\n"
	"li t0, 1\n fence rw, w\n sw t0, 36(a0)\n"
	"1: lw t0, 32(a0)\n beqz t0, 1b\n"
	"csrr t2, vl\n sd t2, 0(a1)\n csrr t2, vtype\n sd t2, 8(a1)\n csrr t2, vcsr\n sd t2, 16(a1)\n csrr t2, vlenb\n sd t2, 24(a1)\n"
	"addi t0, a1, 64\n"
	".irp n,0,8,16,24\n vs8r.v v\\n, (t0)\n add t0, t0, t1\n .endr\n"
	"csrw vcsr, zero\n ret\n"
	".option pop\n");

static void *run(void *arg)
{
	spin(&in[(long)arg], &out[(long)arg]);
	return NULL;
}

int main(void)
{
	pthread_t th[2];

	_Static_assert(__builtin_offsetof(struct image, go) == 32, "go");
	_Static_assert(__builtin_offsetof(struct image, v) == 64, "v");
	errno = ENOTSUP;
	MUST(getauxval(AT_HWCAP) & (1 << ('v' - 'a')));
	for (int i = 0; i < 2; i++) {
		tt_fill(in[i].v, sizeof(in[i].v), 11 + i);
		in[i].vl = 2 + i;
		in[i].vtype = i ? 0xd1 : 0x08; // e32 m2 ta ma; e16 m1
		in[i].vcsr = i ? 5 : 2;	       // rounding mode and saturation
		MUST(!pthread_create(&th[i], NULL, run, (void *)(long)i));
	}
	for (int i = 0; i < 2; i++)
		while (!__atomic_load_n(&in[i].spinning, __ATOMIC_SEQ_CST))
			sched_yield();
	tt_wait();
	for (int i = 0; i < 2; i++) {
		in[i].go = 1;
		pthread_join(th[i], NULL);
		CHECK(out[i].vl == in[i].vl, "thread %d: vl is %lu, expected %lu", i, out[i].vl, in[i].vl);
		CHECK(out[i].vtype == in[i].vtype, "thread %d: vtype is %#lx, expected %#lx", i, out[i].vtype, in[i].vtype);
		CHECK(out[i].vcsr == in[i].vcsr, "thread %d: vcsr is %#lx, expected %#lx", i, out[i].vcsr, in[i].vcsr);
		CHECK(out[i].vlenb && out[i].vlenb <= VLENB_MAX, "vlenb is %lu", out[i].vlenb);
		for (uint64_t r = 0; r < 32; r++)
			CHECK(!memcmp(out[i].v + r * out[i].vlenb, in[i].v + r * out[i].vlenb, out[i].vlenb), "thread %d: v%lu differs", i, r);
	}
	tt_done();
}
