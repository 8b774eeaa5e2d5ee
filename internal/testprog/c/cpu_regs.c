// SPDX-License-Identifier: Apache-2.0
// flags: -no-pie
// Every register holds a pattern while the process is dumped and restored: general, flags, x87, MXCSR, SSE, AVX, and
// AVX-512 with its masks where the CPU has them. Two threads with different patterns spin in assembly until a flag is
// set, with no system call in between.
#include "trapline_test.h"
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <x86intrin.h>

struct image {
	uint64_t gpr[16]; // rax rbx rcx rdx rsi rdi rbp - r8…r15; rsp is not ours to change
	uint64_t flags;
	uint8_t fx[512] __attribute__((aligned(64)));
	uint8_t v[32][64] __attribute__((aligned(64)));
	uint64_t k[8];
	volatile uint32_t go; // asm spins on it
	uint32_t spinning;
	uint32_t mode; // 0 SSE, 1 AVX, 2 AVX-512
	uint64_t saved_rsp;
};

static struct image *in[2], *out[2];
extern void spin(struct image *in, struct image *out);

// rdi: in, rsi: out. Offsets are those of struct image.
__asm__(
	".text\n.globl spin\nspin:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"push %rsi\n push %rdi\n" // (%rsp) in, 8(%rsp) out
	"fxrstor 192(%rdi)\n"
	"mov 192+512+2048+64+8(%rdi), %eax\n" // mode
	"cmp $1, %eax\n je 1f\n ja 2f\n jmp 3f\n"
	"1:\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqu 704+64*\\n(%rdi), %ymm\\n\n .endr\n jmp 3f\n"
	"2:\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n vmovdqu64 704+64*\\n(%rdi), %zmm\\n\n .endr\n"
	".irp n,0,1,2,3,4,5,6,7\n kmovq 2752+8*\\n(%rdi), %k\\n\n .endr\n"
	"3:\n"
	"movl $1, 2752+64+4(%rdi)\n" // spinning
	"push 128(%rdi)\n popfq\n"
	"mov 0(%rdi), %rax\n mov 8(%rdi), %rbx\n mov 16(%rdi), %rcx\n mov 24(%rdi), %rdx\n mov 32(%rdi), %rsi\n mov 48(%rdi), %rbp\n"
	"mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n mov 80(%rdi), %r10\n mov 88(%rdi), %r11\n mov 96(%rdi), %r12\n mov 104(%rdi), %r13\n mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n"
	// The loop must not touch flags: jrcxz would, so the flag word is loaded into the one register that is the loop's own.
	"4:\n"
	"mov 2752+64(%rdi), %edi\n" // go: 0 keeps on, else it is 1
	"jmp *spin_table(,%rdi,8)\n"
	"5:\n pause\n mov (%rsp), %rdi\n jmp 4b\n"
	"6:\n"
	"mov 8(%rsp), %rdi\n"
	"mov %rax, 0(%rdi)\n mov %rbx, 8(%rdi)\n mov %rcx, 16(%rdi)\n mov %rdx, 24(%rdi)\n mov %rsi, 32(%rdi)\n mov %rbp, 48(%rdi)\n"
	"mov %r8, 64(%rdi)\n mov %r9, 72(%rdi)\n mov %r10, 80(%rdi)\n mov %r11, 88(%rdi)\n mov %r12, 96(%rdi)\n mov %r13, 104(%rdi)\n mov %r14, 112(%rdi)\n mov %r15, 120(%rdi)\n"
	"pushfq\n pop 128(%rdi)\n cld\n"
	"fxsave 192(%rdi)\n"
	"mov (%rsp), %rsi\n mov 192+512+2048+64+8(%rsi), %eax\n"
	"cmp $1, %eax\n je 7f\n ja 8f\n jmp 9f\n"
	"7:\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqu %ymm\\n, 704+64*\\n(%rdi)\n .endr\n vzeroupper\n jmp 9f\n"
	"8:\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n vmovdqu64 %zmm\\n, 704+64*\\n(%rdi)\n .endr\n"
	".irp n,0,1,2,3,4,5,6,7\n kmovq %k\\n, 2752+8*\\n(%rdi)\n .endr\n vzeroupper\n"
	"9:\n"
	"fninit\n"
	"pop %rdi\n pop %rsi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
	".section .data\n.align 8\nspin_table: .quad 5b, 6b\n.text\n");

static void *run(void *arg)
{
	spin(in[(long)arg], out[(long)arg]);
	return NULL;
}

int main(void)
{
	pthread_t th[2];
	unsigned a, b, c, d;
	int mode = 0;

	_Static_assert(__builtin_offsetof(struct image, flags) == 128, "flags");
	_Static_assert(__builtin_offsetof(struct image, fx) == 192, "fx");
	_Static_assert(__builtin_offsetof(struct image, v) == 704, "v");
	_Static_assert(__builtin_offsetof(struct image, k) == 2752, "k");
	_Static_assert(__builtin_offsetof(struct image, go) == 2816, "go");
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1 << 5)))
		mode = 1;
	if (mode && (b & (1 << 16)) && (b & (1 << 30)) && __builtin_cpu_supports("avx512bw"))
		mode = 2;
	for (int i = 0; i < 2; i++) {
		in[i] = aligned_alloc(64, 4096);
		out[i] = aligned_alloc(64, 4096);
		memset(in[i], 0, 4096);
		memset(out[i], 0, 4096);
		tt_fill(in[i]->gpr, sizeof(in[i]->gpr), 11 + i);
		tt_fill(in[i]->v, sizeof(in[i]->v), 21 + i);
		tt_fill(in[i]->k, sizeof(in[i]->k), 31 + i);
		in[i]->flags = 0x202 | 1 | 4 | 0x80 | (i ? 0x400 : 0) | (i ? 0x800 : 0x40); // CF PF SF DF OF ZF
		__asm__ volatile("fninit; fxsave %0" : "=m"(in[i]->fx));
		// x87: four registers in use, TOP moved, exceptions unmasked in the control word differ; MXCSR rounds up or down.
		in[i]->fx[0] = 0x7f;
		in[i]->fx[1] = i ? 0x03 : 0x0f;
		in[i]->fx[3] = 4 << 3;
		in[i]->fx[4] = 0xf0;
		for (int r = 0; r < 8; r++)
			tt_fill(in[i]->fx + 32 + 16 * r, 10, 41 + 8 * i + r);
		*(uint32_t *)(in[i]->fx + 24) = i ? 0x3fa0 : 0x5f80;
		memcpy(in[i]->fx + 160, in[i]->v, 0);
		for (int r = 0; r < 16; r++) // the low parts of vectors, for the SSE mode
			memcpy(in[i]->fx + 160 + 16 * r, in[i]->v[r], 16);
		in[i]->mode = mode;
		MUST(!pthread_create(&th[i], NULL, run, (void *)(long)i));
	}
	for (int i = 0; i < 2; i++)
		while (!__atomic_load_n(&in[i]->spinning, __ATOMIC_SEQ_CST))
			sched_yield();
	tt_wait();
	for (int i = 0; i < 2; i++) {
		in[i]->go = 1;
		pthread_join(th[i], NULL);
		for (int r = 0; r < 16; r++)
			if (r != 5 && r != 7)
				CHECK(out[i]->gpr[r] == in[i]->gpr[r], "thread %d: general register %d is %#lx, expected %#lx", i, r, out[i]->gpr[r], in[i]->gpr[r]);
		CHECK((out[i]->flags & 0xcd5) == (in[i]->flags & 0xcd5), "thread %d: flags are %#lx, expected %#lx", i, out[i]->flags, in[i]->flags);
		CHECK(!memcmp(out[i]->fx, in[i]->fx, 5), "thread %d: x87 control, status or tag word differs", i);
		CHECK(!memcmp(out[i]->fx + 24, in[i]->fx + 24, 4), "thread %d: MXCSR is %#x, expected %#x", i, *(uint32_t *)(out[i]->fx + 24), *(uint32_t *)(in[i]->fx + 24));
		for (int r = 0; r < 8; r++)
			CHECK(!memcmp(out[i]->fx + 32 + 16 * r, in[i]->fx + 32 + 16 * r, 10), "thread %d: st(%d) differs", i, r);
		for (int r = 0; r < 16; r++)
			CHECK(!memcmp(out[i]->fx + 160 + 16 * r, in[i]->fx + 160 + 16 * r, 16), "thread %d: xmm%d differs", i, r);
		for (int r = 0; mode && r < (mode == 2 ? 32 : 16); r++)
			CHECK(!memcmp(out[i]->v[r], in[i]->v[r], mode == 2 ? 64 : 32), "thread %d: vector register %d differs (mode %d)", i, r, mode);
		for (int r = 0; mode == 2 && r < 8; r++)
			CHECK(out[i]->k[r] == in[i]->k[r], "thread %d: k%d is %#lx, expected %#lx", i, r, out[i]->k[r], in[i]->k[r]);
	}
	tt_done();
}
