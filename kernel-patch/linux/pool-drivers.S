/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The pool of slots that is linked behind drivers/.
 */
#define POOL_NAME probe_pool_drivers
#include "pool.S"
