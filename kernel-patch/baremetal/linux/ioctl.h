/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* No ioctl here: the macros of trapline.h that use these are never expanded. */
