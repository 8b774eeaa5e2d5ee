/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TRAPLINE_LINUX_TYPES_H
#define TRAPLINE_LINUX_TYPES_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long __u64;

#endif
