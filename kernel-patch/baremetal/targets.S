/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Functions to probe, each with a first instruction of another kind. They add 1000 to a0 where
 * nothing else is said.
 */
#include "port.h"

	.macro function name
	.balign	4
	.globl	\name
	.type	\name, @function
\name:
	.endm

	.macro end name
	.size	\name, . - \name
	.endm

	.text
	.option	norelax

/* Two 16-bit instructions, or two of 32. */
function t_short
	addi	sp, sp, -16
	sd	ra, 8(sp)
	addi	a0, a0, 1000
	ld	ra, 8(sp)
	addi	sp, sp, 16
	ret
end t_short

function t_long
	addi	a0, a0, 1000
	ret
end t_long

/* 16 and 32 bits: a jump covers half of the second. */
function t_mixed
	mv	a1, a0
	addi	a0, a1, 1000
	ret
end t_mixed

/* What a slot must rewrite. */
function t_auipc
1:	auipc	a1, 0
	la	a2, 1b
	sub	a1, a1, a2
	add	a0, a0, a1
	addi	a0, a0, 1000
	ret
end t_auipc

function t_branch
	bltu	a0, zero, 1f
	addi	a0, a0, 1000
1:	ret
end t_branch

function t_branch_taken
	bgeu	a0, zero, 1f
	li	a0, 0
1:	addi	a0, a0, 1000
	ret
end t_branch_taken

function t_branch_short
	beqz	a2, 1f
	addi	a0, a0, 500
	addi	a0, a0, 500
	ret
1:	addi	a0, a0, 1000
	ret
end t_branch_short

function t_jump
	.option	push
	.option	norvc
	j	t_long
	.option	pop
end t_jump

function t_link
	jal	t0, 1f
	addi	a0, a0, 600
	ret
1:	addi	a0, a0, 400
	jr	t0
end t_link

function t_call_register
	la	a1, t_long
	jr	a1
end t_call_register

/* Only what the function returns by. */
function t_return
	ret
end t_return

/* Something branches to its second instruction. */
function t_loop
	li	a1, 10
1:	addi	a0, a0, 100
	addi	a1, a1, -1
	bnez	a1, 1b
	ret
end t_loop

/* The same by a register: nothing tells where to, as it does not for a table of targets. */
function t_table
	li	a1, 10
1:	addi	a0, a0, 100
	addi	a1, a1, -1
	beqz	a1, 2f
	la	a2, 1b
	mv	a3, a2
	jr	a3
2:	ret
end t_table

/* Refused: between load-reserved and store-conditional, and what no slot can hold. */
	.globl	t_reserved_load, t_reserved_inside, t_reserved_store, t_reserved_behind
function t_reserved
	addi	a1, sp, -16
t_reserved_load:
	lr.d	a2, (a1)
t_reserved_inside:
	addi	a2, a2, 1
t_reserved_store:
	sc.d	a3, a2, (a1)
t_reserved_behind:
	bnez	a3, t_reserved_load
	addi	a0, a0, 1000
	ret
end t_reserved

function t_csr
	csrr	a1, sstatus
	addi	a0, a0, 1000
	ret
end t_csr

function t_environment
	ecall
	ret
end t_environment

function t_break
	ebreak
	ret
end t_break

function t_nothing
	.word	0
	ret
end t_nothing

/* Changes no register. */
function t_keep
	.option	push
	.option	norvc
	nop
	nop
	.option	pop
	ret
end t_keep

/* An offset that is probed. */
	.globl	t_middle_at
function t_middle
	addi	a0, a0, 400
t_middle_at:
	addi	a0, a0, 600
	ret
end t_middle

/* It jumps on to another function, whose return address is its own. */
function t_tail
	addi	a0, a0, 500
	addi	a0, a0, -500
	tail	t_long
end t_tail

/*
 * void call_with_registers(function *called, u64 *registers): calls it with x3 and x5 to x31 from
 * the array, and gives them and ra back in it.
 */
function call_with_registers
	addi	sp, sp, -128
	sd	ra, 0(sp)
	sd	gp, 8(sp)
	sd	tp, 16(sp)
	sd	s0, 24(sp)
	sd	s1, 32(sp)
	sd	s2, 40(sp)
	sd	s3, 48(sp)
	sd	s4, 56(sp)
	sd	s5, 64(sp)
	sd	s6, 72(sp)
	sd	s7, 80(sp)
	sd	s8, 88(sp)
	sd	s9, 96(sp)
	sd	s10, 104(sp)
	sd	s11, 112(sp)
	sd	a1, 120(sp)
	mv	ra, a0
	mv	t0, a1
	ld	gp, 24(t0)
	/* tp is the hart's: it stays. */
	.irp	n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
	ld	x\n, (\n * 8)(t0)
	.endr
	.irp	n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	ld	x\n, (\n * 8)(t0)
	.endr
	ld	t0, 40(t0)
	jalr	ra
	.globl	called_with_registers
called_with_registers:
	addi	sp, sp, -16
	sd	t0, 0(sp)
	ld	t0, 136(sp)
	.irp	n, 1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
	sd	x\n, (\n * 8)(t0)
	.endr
	.irp	n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	sd	x\n, (\n * 8)(t0)
	.endr
	ld	t1, 0(sp)
	sd	t1, 40(t0)
	addi	sp, sp, 16
	ld	ra, 0(sp)
	ld	gp, 8(sp)
	ld	tp, 16(sp)
	ld	s0, 24(sp)
	ld	s1, 32(sp)
	ld	s2, 40(sp)
	ld	s3, 48(sp)
	ld	s4, 56(sp)
	ld	s5, 64(sp)
	ld	s6, 72(sp)
	ld	s7, 80(sp)
	ld	s8, 88(sp)
	ld	s9, 96(sp)
	ld	s10, 104(sp)
	ld	s11, 112(sp)
	addi	sp, sp, 128
	ret
end call_with_registers

/* u64 call_on_stack(u64 (*function)(u64), u64 argument, unsigned long sp) */
function call_on_stack
	addi	sp, sp, -16
	sd	ra, 8(sp)
	sd	s0, 0(sp)
	mv	s0, sp
	mv	sp, a2
	mv	a2, a0
	mv	a0, a1
	jalr	a2
	mv	sp, s0
	ld	s0, 0(sp)
	ld	ra, 8(sp)
	addi	sp, sp, 16
	ret
end call_on_stack

/* Too far away for a slot: they are simulated. */
	.section .far, "ax"
function t_far
	addi	a0, a0, 1000
	ret
end t_far

function t_far_branch
	bgeu	a0, zero, 1f
	li	a0, 0
1:	addi	a0, a0, 1000
	ret
end t_far_branch

function t_far_push
	sd	ra, -8(sp)
	addi	a0, a0, 1000
	ret
end t_far_push
