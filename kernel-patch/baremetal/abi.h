/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kinds, reasons and statistics of the system call's header, for a kernel without Linux'
 * headers: linux/ beside this file has the few definitions that it needs.
 */
#include "../include/trapline.h"
