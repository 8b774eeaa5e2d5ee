/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the engine finds the system call's definitions.
 */
#ifndef TRAPLINE_ABI_H
#define TRAPLINE_ABI_H

#include <uapi/linux/trapline.h>

#endif
