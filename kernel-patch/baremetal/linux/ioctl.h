/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How Linux makes the number of an ioctl: direction, size of the argument, a letter, a number.
 */
#ifndef TRAPLINE_LINUX_IOCTL_H
#define TRAPLINE_LINUX_IOCTL_H

#define _IO(type, number) ((unsigned int)(type) << 8 | (number))
#define _IOR(type, number, argument) (0x80000000u | sizeof(argument) << 16 | _IO(type, number))

#endif
