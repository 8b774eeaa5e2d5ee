/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bare-metal port: what the engine's files have to know of this kernel at compile time.
 * docs/porting.md explains each.
 */
#ifndef TRAPLINE_PORT_H
#define TRAPLINE_PORT_H

#define PORT_HARTS 2
#define PORT_POINTS 1024

#define STACK_SIZE 32768 /* bytes; a stack begins at a multiple of it */

/* The trap frame of trap.S: the pc, then x1 to x31, sstatus, scause and two words more. */
#define PORT_TF_PC 0
#define PORT_TF_X(n) (n)
#define PORT_TF_STATUS 32
#define PORT_TF_CAUSE 33
#define PORT_TF_VALUE 34
#define PORT_TF_WORDS 36

#ifndef __ASSEMBLER__

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef int s32;
typedef long s64;
typedef unsigned long size_t;
typedef _Bool bool;
struct probe_task;
#define true 1
#define false 0

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define noinline __attribute__((__noinline__))
#define static_assert _Static_assert
#define __aligned(n) __attribute__((__aligned__(n)))
#define __section(name) __attribute__((__section__(name)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/*
 * What a hit asks, as inline functions: it would take some 40 instructions more to call them. tp
 * points to the hart's own struct hart: its number, and its task, which begins with its struct
 * probe_task.
 */
#define PORT_INLINE

extern u64 test_clock; /* a test's own clock; 0: the real one */

static inline unsigned long os_hart(void)
{
	unsigned long hart;

	asm volatile("ld %0, 0(tp)" : "=r"(hart));
	return hart;
}

static inline struct probe_task *os_task(void)
{
	struct probe_task *task;

	asm volatile("ld %0, 8(tp)" : "=r"(task));
	return task;
}

static inline u64 os_ticks(void)
{
	u64 ticks = test_clock;

	if (!ticks)
		asm volatile("csrr %0, time" : "=r"(ticks));
	return ticks;
}

/* QEMU's virt machine counts at 10 MHz. */
static inline u64 os_ticks_to_ns(u64 ticks)
{
	return ticks * 100;
}

/* There is no other task that could take this hart away. */
static inline u64 os_task_ns(void)
{
	return os_ticks_to_ns(os_ticks());
}

static inline bool os_stack_left(unsigned long sp)
{
	return sp % STACK_SIZE >= 4096;
}

#endif

#endif
