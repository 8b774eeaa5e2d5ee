// SPDX-License-Identifier: Apache-2.0
// Every register holds a pattern while the process is dumped and restored: general, with gp and tp, and floating-point with
// fcsr. Two threads with different patterns spin in assembly until a flag is set, with no system call in between.
#include "trapline_test.h"
#include <pthread.h>
#include <sched.h>

struct image {
	uint64_t x[32]; // x0 and x2 (sp, which points here) and x31 (the loop's own) are not compared
	uint64_t f[32];
	uint32_t fcsr;
	volatile uint32_t go; // asm spins on it
	uint32_t spinning, pad;
	uint64_t saved_sp;
	struct image *out;
};

static struct image in[2], out[2];
extern void spin(struct image *in);

// a0: in. Offsets are those of struct image.
__asm__(
	".text\n.globl spin\nspin:\n"
	"addi sp, sp, -128\n"
	"sd ra, 0(sp)\n sd gp, 8(sp)\n sd tp, 16(sp)\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11\n sd s\\n, 24+8*\\n(sp)\n .endr\n"
	"sd sp, 528(a0)\n"
	"mv sp, a0\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n fld f\\n, 256+8*\\n(sp)\n .endr\n"
	"lw t0, 512(sp)\n fscsr t0\n"
	"li t0, 1\n fence rw, w\n sw t0, 520(sp)\n"
	".irp n,1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30\n ld x\\n, 8*\\n(sp)\n .endr\n"
	"1: lw x31, 516(sp)\n beqz x31, 1b\n"
	"ld x31, 536(sp)\n"
	".irp n,1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30\n sd x\\n, 8*\\n(x31)\n .endr\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n fsd f\\n, 256+8*\\n(x31)\n .endr\n"
	"frcsr t0\n sw t0, 512(x31)\n"
	"ld sp, 528(sp)\n"
	"ld ra, 0(sp)\n ld gp, 8(sp)\n ld tp, 16(sp)\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11\n ld s\\n, 24+8*\\n(sp)\n .endr\n"
	"addi sp, sp, 128\n fscsr zero\n ret\n");

static void *run(void *arg)
{
	spin(&in[(long)arg]);
	return NULL;
}

int main(void)
{
	pthread_t th[2];

	_Static_assert(__builtin_offsetof(struct image, f) == 256, "f");
	_Static_assert(__builtin_offsetof(struct image, fcsr) == 512, "fcsr");
	_Static_assert(__builtin_offsetof(struct image, go) == 516, "go");
	_Static_assert(__builtin_offsetof(struct image, spinning) == 520, "spinning");
	_Static_assert(__builtin_offsetof(struct image, saved_sp) == 528, "saved_sp");
	_Static_assert(__builtin_offsetof(struct image, out) == 536, "out");
	for (int i = 0; i < 2; i++) {
		tt_fill(in[i].x, sizeof(in[i].x), 11 + i);
		tt_fill(in[i].f, sizeof(in[i].f), 21 + i);
		in[i].fcsr = i ? 0x35 : 0x4a; // rounding mode and accrued exceptions
		in[i].out = &out[i];
		MUST(!pthread_create(&th[i], NULL, run, (void *)(long)i));
	}
	for (int i = 0; i < 2; i++)
		while (!__atomic_load_n(&in[i].spinning, __ATOMIC_SEQ_CST))
			sched_yield();
	tt_wait();
	for (int i = 0; i < 2; i++) {
		in[i].go = 1;
		pthread_join(th[i], NULL);
		for (int r = 1; r < 31; r++)
			if (r != 2)
				CHECK(out[i].x[r] == in[i].x[r], "thread %d: x%d is %#lx, expected %#lx", i, r, out[i].x[r], in[i].x[r]);
		for (int r = 0; r < 32; r++)
			CHECK(out[i].f[r] == in[i].f[r], "thread %d: f%d is %#lx, expected %#lx", i, r, out[i].f[r], in[i].f[r]);
		CHECK(out[i].fcsr == in[i].fcsr, "thread %d: fcsr is %#x, expected %#x", i, out[i].fcsr, in[i].fcsr);
	}
	tt_done();
}
