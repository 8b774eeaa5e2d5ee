/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bare-metal port: what the engine's files have to know of this kernel at compile time. docs/porting.md explains each.
 */
#ifndef TRAPLINE_PORT_H
#define TRAPLINE_PORT_H

#define PORT_HARTS 2
#define PORT_POINTS 1024

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
#define true 1
#define false 0

#endif

#endif
