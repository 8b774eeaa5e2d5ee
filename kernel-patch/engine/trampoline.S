/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hits without a trap. Both frames hold all registers that C code may change, as -fipa-ra lets
 * the callers of a function rely on those that it leaves alone.
 */
#include "point.h"

	.macro save_volatile
	sd	t0, (PORT_TF_X(5) * 8)(sp)
	sd	t1, (PORT_TF_X(6) * 8)(sp)
	sd	t2, (PORT_TF_X(7) * 8)(sp)
	sd	a0, (PORT_TF_X(10) * 8)(sp)
	sd	a1, (PORT_TF_X(11) * 8)(sp)
	sd	a2, (PORT_TF_X(12) * 8)(sp)
	sd	a3, (PORT_TF_X(13) * 8)(sp)
	sd	a4, (PORT_TF_X(14) * 8)(sp)
	sd	a5, (PORT_TF_X(15) * 8)(sp)
	sd	a6, (PORT_TF_X(16) * 8)(sp)
	sd	a7, (PORT_TF_X(17) * 8)(sp)
	sd	t3, (PORT_TF_X(28) * 8)(sp)
	sd	t4, (PORT_TF_X(29) * 8)(sp)
	sd	t5, (PORT_TF_X(30) * 8)(sp)
	sd	t6, (PORT_TF_X(31) * 8)(sp)
	.endm

	.macro load_volatile
	ld	t0, (PORT_TF_X(5) * 8)(sp)
	ld	t1, (PORT_TF_X(6) * 8)(sp)
	ld	t2, (PORT_TF_X(7) * 8)(sp)
	ld	a0, (PORT_TF_X(10) * 8)(sp)
	ld	a1, (PORT_TF_X(11) * 8)(sp)
	ld	a2, (PORT_TF_X(12) * 8)(sp)
	ld	a3, (PORT_TF_X(13) * 8)(sp)
	ld	a4, (PORT_TF_X(14) * 8)(sp)
	ld	a5, (PORT_TF_X(15) * 8)(sp)
	ld	a6, (PORT_TF_X(16) * 8)(sp)
	ld	a7, (PORT_TF_X(17) * 8)(sp)
	ld	t3, (PORT_TF_X(28) * 8)(sp)
	ld	t4, (PORT_TF_X(29) * 8)(sp)
	ld	t5, (PORT_TF_X(30) * 8)(sp)
	ld	t6, (PORT_TF_X(31) * 8)(sp)
	.endm

	/* Those that C code preserves: to be read only. */
	.macro save_preserved
	sd	gp, (PORT_TF_X(3) * 8)(sp)
	sd	tp, (PORT_TF_X(4) * 8)(sp)
	sd	s0, (PORT_TF_X(8) * 8)(sp)
	sd	s1, (PORT_TF_X(9) * 8)(sp)
	sd	s2, (PORT_TF_X(18) * 8)(sp)
	sd	s3, (PORT_TF_X(19) * 8)(sp)
	sd	s4, (PORT_TF_X(20) * 8)(sp)
	sd	s5, (PORT_TF_X(21) * 8)(sp)
	sd	s6, (PORT_TF_X(22) * 8)(sp)
	sd	s7, (PORT_TF_X(23) * 8)(sp)
	sd	s8, (PORT_TF_X(24) * 8)(sp)
	sd	s9, (PORT_TF_X(25) * 8)(sp)
	sd	s10, (PORT_TF_X(26) * 8)(sp)
	sd	s11, (PORT_TF_X(27) * 8)(sp)
	.endm

	/* Changes t0. */
	.macro interrupts_off
	csrrci	t0, PORT_STATUS, PORT_STATUS_IE
	sd	t0, FRAME_STATUS(sp)
	.endm

	.macro interrupts_as_before
	ld	t0, FRAME_STATUS(sp)
	andi	t0, t0, PORT_STATUS_IE
	csrs	PORT_STATUS, t0
	.endm

	.text

/*
 * Called by a slot, which has made the frame and saved ra in it. Runs as a copy at the begin of
 * each pool: no address in it may be relative to the pc but its own.
 */
	.balign	16
	.globl	probe_trampoline
	.globl	probe_trampoline_end
probe_trampoline:
	save_volatile
	sd	ra, FRAME_SLOT(sp)
	ld	a1, -SLOT_LINK(ra)
	addi	t0, sp, FRAME_BYTES
	sd	t0, (PORT_TF_X(2) * 8)(sp)
	/* From here on whoever arms a probe waits for this hit: it has what that probe wants. */
	interrupts_off
	ld	t0, POINT_WHOLE(a1)
	bnez	t0, 2f
1:	ld	t0, POINT_HIT(a1)
	mv	a0, sp
	jalr	t0
	interrupts_as_before
	ld	ra, FRAME_SLOT(sp)
	load_volatile
	ret
2:	save_preserved
	j	1b
probe_trampoline_end:

/*
 * Where a function returns to whose return address was replaced. ra is what it returned by, so
 * nobody waits for its value.
 */
	.balign	16
	.globl	probe_return
	.type	probe_return, @function
probe_return:
	addi	sp, sp, -FRAME_BYTES
3:	save_volatile
	addi	t0, sp, FRAME_BYTES
	sd	t0, (PORT_TF_X(2) * 8)(sp)
	interrupts_off
	mv	a0, sp
	call	probe_returned
	interrupts_as_before
	ld	ra, (PORT_TF_X(1) * 8)(sp)
	load_volatile
	addi	sp, sp, FRAME_BYTES
	ret
	.size	probe_return, . - probe_return

/* The same for probes that may ask for any register. */
	.globl	probe_return_whole
	.type	probe_return_whole, @function
probe_return_whole:
	addi	sp, sp, -FRAME_BYTES
	save_preserved
	j	3b
	.size	probe_return_whole, . - probe_return_whole
