/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pools of slots. They lie in the kernel's text, spread over it (the last objects of mm/ and
 * drivers/), because a jump reaches 1 MiB.
 */
#ifndef TRAPLINE_POOL_H
#define TRAPLINE_POOL_H

/* Room for the trampoline, and for slots of 32 bytes. */
#define POOL_BYTES (256 + CONFIG_TRAPLINE_SLOTS * 32)

#ifndef __ASSEMBLER__

extern char probe_pool_mm[], probe_pool_drivers[];
static char *const probe_pools[] = { probe_pool_mm, probe_pool_drivers };

/* Begin and end of the text of all objects of this directory: first.S and last.S. */
extern const char probe_text_begin[], probe_text_end[];

/* The linker's, which the kernel declares where it uses them. */
extern struct exception_table_entry __start___ex_table[], __stop___ex_table[];
extern char __cpuidle_text_start[], __cpuidle_text_end[];

#endif

#endif
