/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What differs between architectures: where in struct pt_regs, as 64-bit words, is what.
 */
#ifndef TRAPLINE_ARCH_H
#define TRAPLINE_ARCH_H

#if defined(__TARGET_ARCH_x86)
#define REGS 21
#define WORD_SP 19
#define WORD_RETVAL 10
#define SYSCALL_WORDS 16 /* the words behind them are segments, which are no plain words in every kernel */
#define WORD_SYSCALL 15
#define WORD_CS 17 /* the return address is on the stack: of the kernel, or of the process that this segment tells of */
#define COMPAT 2 /* TS_COMPAT: in a system call of the 32-bit table */
#elif defined(__TARGET_ARCH_arm64)
#define REGS 34
#define WORD_SP 31
#define WORD_RETVAL 0
#define SYSCALL_WORDS 31
#define WORD_FIRST_PARAMETER 34 /* orig_x0 */
#elif defined(__TARGET_ARCH_riscv)
#define REGS 32 /* struct user_regs_struct, which is what a program may read */
#define WORD_SP 2
#define WORD_RETVAL 10
#define SYSCALL_WORDS 32
#define WORD_FIRST_PARAMETER 35 /* orig_a0: the entry has overwritten a0 */
#else
#error "no such architecture yet"
#endif

#endif
