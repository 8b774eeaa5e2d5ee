// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Calls of the Supervisor Binary Interface (riscv-sbi-doc, version 0.2 and later).
 */
#include "kernel.h"

#define SBI_CONSOLE 1 /* legacy: one function, the extension */
#define SBI_TIME 0x54494d45
#define SBI_IPI 0x735049
#define SBI_HSM 0x48534d
#define SBI_RESET 0x53525354

static long sbi(unsigned long extension, unsigned long function, unsigned long a, unsigned long b,
		unsigned long c)
{
	register unsigned long a0 asm("a0") = a;
	register unsigned long a1 asm("a1") = b;
	register unsigned long a2 asm("a2") = c;
	register unsigned long a6 asm("a6") = function;
	register unsigned long a7 asm("a7") = extension;

	asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
	return (long)a0;
}

void print_char(char c)
{
	sbi(SBI_CONSOLE, 0, (unsigned char)c, 0, 0);
}

void power_off(void)
{
	sbi(SBI_RESET, 0, 0, 0, 0);
	for (;;)
		asm volatile("wfi");
}

void start_hart(unsigned long id, unsigned long entry)
{
	sbi(SBI_HSM, 0, id, entry, 0);
}

void interrupt_hart(unsigned long id)
{
	sbi(SBI_IPI, 0, 1ul << id, 0, 0);
}

void timer_after(u64 ticks)
{
	u64 now;

	asm volatile("csrr %0, time" : "=r"(now));
	sbi(SBI_TIME, 0, ticks ? now + ticks : ~0ul, 0, 0);
}
