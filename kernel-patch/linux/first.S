/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Linked first: the engine's text begins here. See policy.c.
 */
#include <linux/linkage.h>

	.text
SYM_CODE_START(probe_text_begin)
	ebreak
SYM_CODE_END(probe_text_begin)
