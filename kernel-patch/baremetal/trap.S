/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Traps of supervisor mode from itself: the frame lies on the stack that was in use. And the
 * switch between tasks.
 */
#include "port.h"

#define FRAME (PORT_TF_WORDS * 8)

	.macro each_register operation
	\operation x1, (PORT_TF_X(1) * 8)(sp)
	\operation x3, (PORT_TF_X(3) * 8)(sp)
	\operation x4, (PORT_TF_X(4) * 8)(sp)
	\operation x5, (PORT_TF_X(5) * 8)(sp)
	\operation x6, (PORT_TF_X(6) * 8)(sp)
	\operation x7, (PORT_TF_X(7) * 8)(sp)
	\operation x8, (PORT_TF_X(8) * 8)(sp)
	\operation x9, (PORT_TF_X(9) * 8)(sp)
	\operation x10, (PORT_TF_X(10) * 8)(sp)
	\operation x11, (PORT_TF_X(11) * 8)(sp)
	\operation x12, (PORT_TF_X(12) * 8)(sp)
	\operation x13, (PORT_TF_X(13) * 8)(sp)
	\operation x14, (PORT_TF_X(14) * 8)(sp)
	\operation x15, (PORT_TF_X(15) * 8)(sp)
	\operation x16, (PORT_TF_X(16) * 8)(sp)
	\operation x17, (PORT_TF_X(17) * 8)(sp)
	\operation x18, (PORT_TF_X(18) * 8)(sp)
	\operation x19, (PORT_TF_X(19) * 8)(sp)
	\operation x20, (PORT_TF_X(20) * 8)(sp)
	\operation x21, (PORT_TF_X(21) * 8)(sp)
	\operation x22, (PORT_TF_X(22) * 8)(sp)
	\operation x23, (PORT_TF_X(23) * 8)(sp)
	\operation x24, (PORT_TF_X(24) * 8)(sp)
	\operation x25, (PORT_TF_X(25) * 8)(sp)
	\operation x26, (PORT_TF_X(26) * 8)(sp)
	\operation x27, (PORT_TF_X(27) * 8)(sp)
	\operation x28, (PORT_TF_X(28) * 8)(sp)
	\operation x29, (PORT_TF_X(29) * 8)(sp)
	\operation x30, (PORT_TF_X(30) * 8)(sp)
	\operation x31, (PORT_TF_X(31) * 8)(sp)
	.endm

	.text
	.balign	4
	.globl	trap_vector
trap_vector:
	addi	sp, sp, -FRAME
	each_register sd
	addi	t0, sp, FRAME
	sd	t0, (PORT_TF_X(2) * 8)(sp)
	csrr	t0, sepc
	sd	t0, (PORT_TF_PC * 8)(sp)
	csrr	t0, sstatus
	sd	t0, (PORT_TF_STATUS * 8)(sp)
	csrr	t0, scause
	sd	t0, (PORT_TF_CAUSE * 8)(sp)
	csrr	t0, stval
	sd	t0, (PORT_TF_VALUE * 8)(sp)
	mv	a0, sp
	call	trap
	/* What the engine changed in the frame: pc, and any register, sp too. */
	ld	t0, (PORT_TF_STATUS * 8)(sp)
	csrw	sstatus, t0
	ld	t0, (PORT_TF_PC * 8)(sp)
	csrw	sepc, t0
	each_register ld
	ld	sp, (PORT_TF_X(2) * 8)(sp)
	sret

/*
 * void switch_registers(unsigned long *from, const unsigned long *to): what a call preserves, ra
 * and sp.
 */
	.globl	switch_registers
switch_registers:
	sd	ra, 0(a0)
	sd	sp, 8(a0)
	sd	s0, 16(a0)
	sd	s1, 24(a0)
	sd	s2, 32(a0)
	sd	s3, 40(a0)
	sd	s4, 48(a0)
	sd	s5, 56(a0)
	sd	s6, 64(a0)
	sd	s7, 72(a0)
	sd	s8, 80(a0)
	sd	s9, 88(a0)
	sd	s10, 96(a0)
	sd	s11, 104(a0)
	ld	ra, 0(a1)
	ld	sp, 8(a1)
	ld	s0, 16(a1)
	ld	s1, 24(a1)
	ld	s2, 32(a1)
	ld	s3, 40(a1)
	ld	s4, 48(a1)
	ld	s5, 56(a1)
	ld	s6, 64(a1)
	ld	s7, 72(a1)
	ld	s8, 80(a1)
	ld	s9, 88(a1)
	ld	s10, 96(a1)
	ld	s11, 104(a1)
	ret
