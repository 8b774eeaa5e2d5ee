/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the engine asks of a port, for tests that run as a program: a trap frame is 32 words, the pc
 * in the place of x0.
 */
#ifndef TRAPLINE_PORT_H
#define TRAPLINE_PORT_H

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stddef.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#endif

#define PORT_HARTS 2
#define PORT_TF_PC 0
#define PORT_TF_X(n) (n)
#define PORT_TF_WORDS 32
#define PORT_POINTS 16

/* What the programs themselves share. */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
