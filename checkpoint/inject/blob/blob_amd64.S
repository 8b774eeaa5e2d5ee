/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only foreign code that ever runs in a target, x86-64.
 *
 * It lies in the unused tail of the last page of the target's own vDSO (dump) or in a mapping of its own (restore).
 * It never touches %rsp, the red zone or any vector register, has no call and no ret (shadow stacks), and every
 * path through it ends, also without a tracer, in the registers and the signal mask of the context that was
 * interrupted: if the engine dies, the thread finishes its entries, unmaps the scratch area and goes on.
 *
 * regenerate with: go generate ./checkpoint/inject
 */
	.intel_syntax noprefix
	.text

/*
 * batch: walks an array of entries { nr, a0 … a5, dst } of 64 bytes at %rbx, until an entry has a negative nr.
 * The result of each call is stored where dst points.
 */
	.globl	batch
batch:
	mov	rax, [rbx]
	test	rax, rax
	js	unmap
	mov	rdi, [rbx + 8]
	mov	rsi, [rbx + 16]
	mov	rdx, [rbx + 24]
	mov	r10, [rbx + 32]
	mov	r8, [rbx + 40]
	mov	r9, [rbx + 48]
	syscall
	.globl	batch_ret
batch_ret:
	mov	rcx, [rbx + 56]
	mov	[rcx], rax
	add	rbx, 64
	jmp	batch

/*
 * A stub: one remote call at NAME_call, which the tracer steps over; untraced, the thread falls through to the way
 * back, the leader past unmapping the scratch area. Two of them, since the leader stays parked on its own while the
 * other threads answer on theirs.
 */
	.macro	stub name
	.globl	\name\()_call
\name\()_call:
	syscall
	.ifc \name, leader
unmap:
	mov	rdi, [rip + leader_area]
	mov	rsi, [rip + leader_len]
	mov	eax, 11			/* munmap */
	test	rsi, rsi
	jz	leader_back
	syscall
	.endif
\name\()_back:
	cmp	dword ptr [rip + \name\()_nosys], 0
	jne	1f
	mov	eax, 14			/* rt_sigprocmask(SIG_SETMASK, &mask, NULL, 8) */
	mov	edi, 2
	lea	rsi, [rip + 9f]
	xor	edx, edx
	mov	r10d, 8
	syscall
1:	cld
	cmp	dword ptr [rip + \name\()_df], 0
	je	2f
	std
2:	mov	rbx, [rip + 9f + 16]
	mov	rcx, [rip + 9f + 24]
	mov	rdx, [rip + 9f + 32]
	mov	rsi, [rip + 9f + 40]
	mov	rdi, [rip + 9f + 48]
	mov	rbp, [rip + 9f + 56]
	mov	r8, [rip + 9f + 64]
	mov	r9, [rip + 9f + 72]
	mov	r10, [rip + 9f + 80]
	mov	r11, [rip + 9f + 88]
	mov	r12, [rip + 9f + 96]
	mov	r13, [rip + 9f + 104]
	mov	r14, [rip + 9f + 112]
	mov	r15, [rip + 9f + 120]
	/* flags without a stack: al is 1 if OF is to be set, ah holds SF, ZF, AF, PF, CF */
	mov	eax, [rip + \name\()_flags]
	add	al, 0x7f
	sahf
	mov	rax, [rip + 9f + 8]
	jmp	[rip + 9f + 128]
	.balign	8
	/* mask, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 … r15, rip, flags, df, nosys, (leader) area, len */
	.globl	\name\()_ctx
\name\()_ctx:
9:
	.fill	17, 8, 0
\name\()_flags:
	.long	0
\name\()_df:
	.long	0
\name\()_nosys:
	.long	0
	.long	0
	.endm

	stub	leader
leader_area:
	.quad	0
leader_len:
	.quad	0
	stub	thread

/*
 * ask: what a thread other than the leader must be asked, in one go: sigaltstack to rbx, PR_GET_TID_ADDRESS to rbx + 24,
 * PR_GET_PDEATHSIG to rbx + 32, PR_GET_SECUREBITS to r15; rbp is 0 if the first three did not fail. It ends in
 * tgkill(r12, r13, r14), for the tracer a stop. The buffer may be gone if the engine is.
 */
	.globl	ask
ask:
	mov	eax, 131		/* sigaltstack */
	xor	edi, edi
	mov	rsi, rbx
	syscall
	mov	rbp, rax
	mov	eax, 157		/* prctl */
	mov	edi, 40
	lea	rsi, [rbx + 24]
	syscall
	or	rbp, rax
	mov	eax, 157
	mov	edi, 2
	lea	rsi, [rbx + 32]
	syscall
	or	rbp, rax
	mov	eax, 157
	mov	edi, 27
	syscall
	mov	r15, rax
	mov	eax, 234		/* tgkill */
	mov	edi, r12d
	mov	esi, r13d
	mov	edx, r14d
	syscall
	.globl	ask_ret
ask_ret:
	jmp	thread_back
	.globl	end
end:
