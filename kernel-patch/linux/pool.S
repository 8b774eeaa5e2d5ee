/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A pool of slots. Until a slot is written it traps.
 */
#include <linux/linkage.h>

#include "pool.h"

	.text
	.balign	16
SYM_CODE_START(POOL_NAME)
	.fill	POOL_BYTES / 4, 4, 0x00100073
SYM_CODE_END(POOL_NAME)
