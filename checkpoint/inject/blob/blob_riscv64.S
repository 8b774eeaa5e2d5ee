/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only foreign code that ever runs in a target, riscv64.
 *
 * It lies in the unused tail of the last page of the target's own vDSO (dump) or in a mapping of its own (restore).
 * Nothing can be loaded into the program counter without a register, so the way back is a signal return whose frame
 * lies here, ready, in memory that the kernel only reads. The one context that a signal return would spoil, a call that only
 * restart_syscall can go on with, is one where a7 is the kernel's to change: there the way back jumps by it.
 *
 * regenerate with: go generate ./checkpoint/inject
 */
	.text

/*
 * batch: walks an array of entries { nr, a0 … a5, dst } of 64 bytes at s0, until an entry has a negative nr.
 * The result of each call is stored where dst points.
 */
	.globl	batch
batch:
	ld	a7, 0(s0)
	bltz	a7, back
	ld	a0, 8(s0)
	ld	a1, 16(s0)
	ld	a2, 24(s0)
	ld	a3, 32(s0)
	ld	a4, 40(s0)
	ld	a5, 48(s0)
	ecall
	.globl	batch_ret
batch_ret:
	ld	t0, 56(s0)
	sd	a0, 0(t0)
	addi	s0, s0, 64
	j	batch

/*
 * One remote call at leader_call, from system-call stop to system-call stop; untraced, the thread falls through to the
 * way back.
 */
	.globl	leader_call
leader_call:
	ecall
back:
	lla	s0, frame
	ld	a1, 184(s0)
	beqz	a1, 1f
	ld	a0, 176(s0)
	li	a7, 215			/* munmap */
	ecall
1:	ld	a7, 192(s0)
	beqz	a7, 2f
	li	a0, 2
	addi	a1, s0, 168
	li	a2, 0
	li	a3, 8
	li	a7, 135			/* rt_sigprocmask(SIG_SETMASK, &mask, NULL, 8) */
	ecall
	li	a7, 128			/* restart_syscall */
	ecall
	ld	a7, 192(s0)
	ld	t0, 304+40(s0)
	ld	a1, 304+88(s0)
	ld	a2, 304+96(s0)
	ld	a3, 304+104(s0)
	ld	a4, 304+112(s0)
	ld	a5, 304+120(s0)
	ld	s0, 304+64(s0)
	jr	a7
2:	mv	sp, s0
	li	a7, 139			/* rt_sigreturn */
	ecall
	.balign	16

/*
 * struct rt_sigframe (arch/riscv/kernel/signal.c) from its uc_stack on, at 144; the kernel does not read what comes before:
 *
 *   144 uc_stack   168 uc_sigmask   304 sc_regs: pc, x1 … x31   560 f0 … f31, fcsr   1076 end of the extensions   1088
 *
 * and in the unused part of uc_sigmask what is ours:
 *
 *   176 area   184 its size, 0: leave it   192 where to go on after restart_syscall, 0: rt_sigreturn
 */
	.globl	leader_ctx
leader_ctx:
	.set	frame, leader_ctx - 144
	.zero	1088 - 144
	.globl	end
end:
