// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Sv39, in 2 MiB pages: text is read and executed, data read and written, each where it lies in
 * memory. The text's page has a second address, where it can be written: only os_write_text
 * knows that.
 */
#include "kernel.h"

#define PAGE 0x200000ul
#define ALIAS 0x40000000ul /* from an address to its second one */

#define PTE_V 1ul
#define PTE_R 2ul
#define PTE_W 4ul
#define PTE_X 8ul
#define PTE_A 64ul
#define PTE_D 128ul

static u64 root[512] __aligned(4096);
static u64 memory[512] __aligned(4096); /* from 0x80000000 on */
static u64 alias[512] __aligned(4096); /* from 0xc0000000 on */

static u64 leaf(unsigned long address, u64 rights)
{
	return address >> 12 << 10 | rights | PTE_V | PTE_A | PTE_D;
}

void paging_on(void)
{
	unsigned long at, text = (unsigned long)__text_start, data = (unsigned long)__data_start;
	const unsigned long gigabyte = text >> 30 << 30;

	for (at = text; at < gigabyte + 512 * PAGE; at += PAGE) {
		unsigned int i = at >> 21 & 511;

		memory[i] = leaf(at, at < data ? PTE_R | PTE_X : PTE_R | PTE_W);
		if (at < data)
			alias[i] = leaf(at, PTE_R | PTE_W);
	}
	root[gigabyte >> 30] = (u64)memory >> 12 << 10 | PTE_V;
	root[(gigabyte + ALIAS) >> 30] = (u64)alias >> 12 << 10 | PTE_V;
	asm volatile("sfence.vma\n\tcsrw satp, %0\n\tsfence.vma"
		     :
		     : "r"(8ul << 60 | (u64)root >> 12)
		     : "memory");
}

void *text_alias(unsigned long address)
{
	return (void *)(address + ALIAS);
}
