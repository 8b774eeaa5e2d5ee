/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where OpenSBI enters: a0 is the hart, in supervisor mode, without translation, interrupts off.
 * The second hart enters at second_entry, started by main.
 */
#include "kernel.h"

	.section .boot, "ax"
	.globl	_start
_start:
	la	t0, __bss_start
	la	t1, __bss_end
1:	sd	zero, 0(t0)
	addi	t0, t0, 8
	bltu	t0, t1, 1b
	la	sp, first_stack + STACK_SIZE
	j	enter

	.globl	second_entry
second_entry:
	la	sp, second_stack + STACK_SIZE

enter:
	/* Hart's own struct in tp: 16 bytes each. */
	slli	t0, a0, 4
	la	tp, harts
	add	tp, tp, t0
	la	t0, trap_vector
	csrw	stvec, t0
	call	main
1:	wfi
	j	1b

	.bss
	.balign	STACK_SIZE
first_stack:
	.space	STACK_SIZE
second_stack:
	.space	STACK_SIZE
