/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * System calls that make a new program of a task: trapline_exec() first, then the kernel's own,
 * whose parameters differ from version to version.
 */
#include <linux/linkage.h>

#include "version.h"

	.macro exec name, call
SYM_FUNC_START(\name)
	addi	sp, sp, -48
	sd	ra, 0(sp)
	sd	a0, 8(sp)
	sd	a1, 16(sp)
	sd	a2, 24(sp)
	sd	a3, 32(sp)
	sd	a4, 40(sp)
	call	trapline_exec
	ld	ra, 0(sp)
	ld	a0, 8(sp)
	ld	a1, 16(sp)
	ld	a2, 24(sp)
	ld	a3, 32(sp)
	ld	a4, 40(sp)
	addi	sp, sp, 48
	tail	\call
SYM_FUNC_END(\name)
	.endm

	.text
	exec	trapline_execve, SYSCALL_FUNCTION(execve)
	exec	trapline_execveat, SYSCALL_FUNCTION(execveat)
