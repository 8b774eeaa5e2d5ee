/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the engine needs of an operating system: a port writes port.h and the functions below,
 * and calls probe_breakpoint() from its breakpoint trap. docs/porting.md leads through it.
 *
 * port.h defines
 *	PORT_HARTS		how many harts there can be
 *	PORT_TF_PC		word of the trap frame that holds the pc, and
 *	PORT_TF_X(n)		the word that holds register xN, 1 to 31
 *	PORT_TF_WORDS		words of a trap frame, an even number, at most 60
 *	PORT_POINTS		probed addresses that can be found fast, a power of two
 * the types u8, u16, u32, u64, s32, s64, size_t and bool, and the macros likely, unlikely,
 * noinline and static_assert. trampoline.S includes it too, with __ASSEMBLER__ defined, for the
 * three of the trap frame: a hit by jump has one that the engine makes on the stack, in which
 * only the registers and the pc mean something. PORT_HARTS may be a value that is known when
 * probe_init() runs. With PORT_INLINE defined, port.h also has those functions as static inline
 * that every hit calls.
 *
 * The engine may call memcpy, memset, memmove and memcmp, as any C compiler does.
 *
 * "In a trap" is said of what the engine calls while it handles a hit: interrupts are off, any
 * lock of the kernel may be held by what was interrupted, and there may be next to no stack. It
 * must not block, allocate, or take a lock that anything else takes.
 */
#ifndef TRAPLINE_OSUTILS_H
#define TRAPLINE_OSUTILS_H

#include "port.h"
#include "errors.h"

/*
 * What the engine keeps of a task; part of the task, zero when it begins, also in a forked
 * child.
 */
struct probe_call;
struct probe_task {
	struct probe_call *calls; /* that have not returned, the last one first */
	u64 hits; /* of this task so far: what is nested in a call is a difference */
	u64 groups; /* a bit a filter that the task belongs to */
};

/* Memory, zeroed; may block. 0 if there is none. */
void *os_alloc(size_t size);
void os_free(void *memory);

/*
 * Executable memory for slots, a few areas that never go away: the i-th, or 0 behind the last;
 * *size in bytes. Begins at a multiple of 16. probe_init() writes a copy of probe_trampoline
 * (trampoline.S) to its begin by os_write_text, and slots begin at *slots, PROBE_TRAMPOLINE_SIZE
 * bytes behind it or more. Slots serve text that lies within 1 MiB of them.
 */
#define PROBE_TRAMPOLINE_SIZE 256
void *os_pool(unsigned int i, size_t *size, void **slots);

/*
 * A piece of text and what it shall become: length is a multiple of 2, at most OS_EDIT_MAX. May
 * cross a page.
 */
#define OS_EDIT_MAX 64
struct os_edit {
	void *address;
	const void *bytes;
	size_t length;
};

/*
 * Writes all edits while every other hart waits outside of all kernel code that can be probed,
 * and makes each hart fetch anew (fence.i on all of them). When it returns nothing that was
 * unlinked before is still in use by a hit on another hart. No edit at all is the wait alone,
 * and never fails. May block. 0, or a negative error, with nothing written.
 */
int os_write_text(const struct os_edit *edits, size_t n);

/*
 * Whether no task can be interrupted and replaced on its hart while inside of kernel text: then
 * os_write_text is all that it takes to know that nobody stands between two instructions or in a
 * slot.
 */
bool os_preemptible(void);

/*
 * Waits until every task that may stand in a slot has left it; after os_write_text. Nothing to
 * do if not os_preemptible. May block.
 */
void os_wait_for_tasks(void);

/* Guards the engine's tables; may block. Not taken in a trap. */
void os_lock(void);
void os_unlock(void);

/* The function that an address lies in. False if none. */
bool os_function(unsigned long address, unsigned long *start, size_t *size);

/*
 * Whether [start, end) may be changed: 0, or a negative error of errors.h with its reason.
 * Nothing in there may be known to the kernel's tables (exception table, jump labels, bug table,
 * alternatives). May block.
 */
struct probe_refusal;
int os_may_probe(unsigned long start, unsigned long end, struct probe_refusal *why);

#ifndef PORT_INLINE
/*
 * In a trap: this hart's number, below PORT_HARTS; its running task, or 0 if there is none yet;
 * a clock of constant rate.
 */
unsigned long os_hart(void);
struct probe_task *os_task(void);
u64 os_ticks(void);
u64 os_ticks_to_ns(u64 ticks);

/* In a trap: time that the running task has spent on its hart so far, in ns; 0 if not known. */
u64 os_task_ns(void);

/* In a trap: is a page's worth of stack left below? A hit without it is missed. */
bool os_stack_left(unsigned long sp);
#endif /* PORT_INLINE */

#endif
