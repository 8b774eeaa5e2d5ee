/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Error numbers, for kernels that have none. The engine returns them negative. Linux defines the
 * same ones first.
 */
#ifndef TRAPLINE_ERRORS_H
#define TRAPLINE_ERRORS_H

#ifndef ENOENT
#define ENOENT 2 /* no function there */
#define ENOMEM 12
#define EACCES 13 /* text that must not be probed */
#define EBUSY 16 /* somebody else changed that text */
#define EINVAL 22 /* a field of struct probe is no value that it can have */
#define ENOSPC 28 /* no slot is free within reach */
#endif
#ifndef EILSEQ
#define EILSEQ 84 /* inside an instruction */
#endif
#ifndef EOPNOTSUPP
#define EOPNOTSUPP 95 /* an instruction that can't be probed */
#endif

#endif
