/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel that the port is for: two harts, tasks that switch when they want to, an interrupt
 * from the timer, and read-only text.
 */
#ifndef TRAPLINE_KERNEL_H
#define TRAPLINE_KERNEL_H

#include "port.h"

#ifndef __ASSEMBLER__

#include "osutils.h"
#include "trapframe.h"

/* What a hart is doing; tp points to its own. */
struct hart {
	unsigned long id;
	struct task *task;
};

/* A thread of the kernel. Its stack begins at a multiple of its size. */
struct task {
	struct probe_task probe;
	unsigned long registers[14];
	void *stack;
};

extern struct hart harts[PORT_HARTS];

static inline struct hart *this_hart(void)
{
	struct hart *hart;

	asm("mv %0, tp" : "=r"(hart));
	return hart;
}

/* kernel.lds */
extern char __text_start[], __unprobed_end[], __pool_end[], __text_end[], __data_start[];

/* boot.S: where the second hart begins. */
void second_entry(void);

/* sbi.c: what the machine does for us. */
void print_char(char c);
void power_off(void);
void start_hart(unsigned long id, unsigned long entry);
void interrupt_hart(unsigned long id);
void timer_after(u64 ticks);

/* print.c */
void print(const char *text);
void print_number(s64 n);
void print_hex(u64 n);
void *memset(void *to, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *left, const void *right, size_t n);

/* paging.c: translation on, for this hart; where text can be written. */
void paging_on(void);
void *text_alias(unsigned long address);

/* heap.c */
void *heap_take(size_t size);
void heap_give_back(void *memory);
extern size_t heap_used; /* bytes */

/* trap.c: the other hart waits inside of its interrupt, from the first to the second. */
struct os_edit;
void park_other(const struct os_edit *edits, size_t n);
void release_other(void);
/* Runs in the timer's interrupt. May switch tasks if may_switch, and preemptible is set. */
extern void (*timer_work)(bool may_switch);
extern bool preemptible; /* port.c */

/* symbols.c; the table is made by symbols.sh from the kernel's own symbols. */
struct symbol {
	unsigned long address;
	unsigned long size; /* bytes */
	const char *name;
};

extern const struct symbol symbol_table[];
extern const unsigned long symbol_count;
bool symbol_at(unsigned long address, unsigned long *start, size_t *size);
unsigned long symbol_address(const char *name);

/* task.c */
void task_make(struct task *task, void (*run)(void));
/* The other task runs on this hart until it switches back. */
void task_switch(struct task *to);

/* syscall.c: addresses of the caller as numbers; what they give is that or a negative error. */
#define E2BIG 7
#define EBADF 9
#define EFAULT 14
#define EMFILE 24
#define ENOTTY 25
#define ERANGE 34
long sys_probe_open(u64 user, size_t size, unsigned int flags);
long sys_probe_ioctl(long fd, unsigned int request);
long sys_probe_read(long fd, u64 user, size_t size);
long sys_probe_close(long fd);

/* trap.S */
void switch_registers(unsigned long *from, const unsigned long *to);
void trap_vector(void);

/* tests.c */
void run_tests(void);
void other_loop(void);
/* Runs on the second hart; other_wait waits until it is done. */
void other_run(void (*work)(void));
void other_wait(void);

#endif /* __ASSEMBLER__ */

#endif
