// SPDX-License-Identifier: Apache-2.0

// Package inject holds ptrace, remote system calls and the syscall batch: all that a dump or a restore does inside
// another process.
//
// # The syscall batch
//
// A blob of machine code (blob/) walks an array of entries
//
//	 0       8      16      24      32      40      48      56      64
//	+-------+-------+-------+-------+-------+-------+-------+-------+
//	| nr    | a0    | a1    | a2    | a3    | a4    | a5    | dst   |
//	+-------+-------+-------+-------+-------+-------+-------+-------+
//
// makes each system call and stores its result where dst points: into a result slot or straight into an argument of
// a later entry. All logic stays in Go.
//
// # Where it runs
//
// For a dump the blob lies in the tail of the last page of the target's own vDSO, which no program uses and which is written through
// /proc/PID/mem and put back by Cure; the entries lie in a scratch mapping made by the first remote call. So the
// target's text is never changed and it never gets an executable mapping. A restore, whose processes have no vDSO of
// their own yet, keeps the blob in the scratch mapping.
//
// # If the engine dies
//
// A batch ends in a signal to its own thread that the target ignores by default: a stop for the tracer, nothing
// without one. The thread waits ("is parked") in that stop. What follows it in the array is the way back: closing the
// descriptors that were passed in, unmapping the scratch area, the original signal mask, the original registers. All
// of it is written before the thread is moved, so that kill -9 of the engine at any moment leaves the target as it
// was. On x86-64 the blob restores registers itself instead of by rt_sigreturn, because a signal return would cancel the
// restart of an interrupted nanosleep or futex (the kernel resets restart_block there), would need a signal frame
// with the whole XSAVE area, and can't unmap the memory that it runs from.
//
// On riscv64 nothing but a signal return loads all registers, so the frame lies ready behind the blob, in memory that
// the kernel only reads; there is room for one, so the threads of a process have blob and scratch area one after
// another. A call that a signal return would spoil the blob makes itself, by restart_syscall, and jumps back through
// the one register that the kernel changes for such a call anyway.
//
// A target with a seccomp filter would be killed by the rest of a batch that its dead tracer no longer excepts from
// the filter. There the entries are made one by one, each a single step.
//
// # Threads
//
// ptrace belongs to an OS thread: every function here that takes or has a Tracee must be called from the goroutine
// that seized it, locked by runtime.LockOSThread.
package inject

//go:generate blob/generate.sh
