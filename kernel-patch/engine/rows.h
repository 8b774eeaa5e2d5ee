/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rows: where they are, and how a value goes into one. Everything here runs at each hit.
 */
#ifndef TRAPLINE_ROWS_H
#define TRAPLINE_ROWS_H

#include "point.h"

/* A hart's rows begin at a cache line of their own. */
#define ROWS_ALIGN 64

static inline struct probe_row *row_at(const struct probe *p, unsigned long hart, u64 row)
{
	return (struct probe_row *)((char *)p->rows + hart * p->stride + row);
}

/* Where the row of the current context is in a hart's rows, bytes. */
static inline u64 row_now(const struct probe *p)
{
	u32 context;

	if (likely(p->contexts == 1))
		return 0;
	context = __atomic_load_n(p->context, __ATOMIC_RELAXED);
	if (context >= p->contexts)
		context = p->contexts - 1;
	return context * (u64)sizeof(struct probe_row);
}

/*
 * stats.c: calls that were under way when the probe was disarmed never count: it is as if they
 * had not been entered. Under the lock, while no hit can come.
 */
void rows_settle(struct probe *p);

extern const u8 probe_log2[256];

/*
 * Which bucket a value belongs to: 0 for 0, i for [2^(i-1), 2^i). RV64GC has no instruction that
 * counts zeros.
 */
static inline unsigned long row_bucket(u64 value)
{
	unsigned long bucket = 0;

	if (value >= 1ull << 16) {
		value >>= 16;
		bucket = 16;
		while (value >= 1ull << 16) {
			value >>= 16;
			bucket += 16;
		}
	}
	if (value >= 1u << 8) {
		value >>= 8;
		bucket += 8;
	}
	bucket += probe_log2[value];
	return bucket < PROBE_BUCKETS ? bucket : PROBE_BUCKETS - 1;
}

static inline void row_measure(struct probe_row *row, u64 value)
{
	row->count++;
	row->total += value;
	if (~value > row->inverse_min)
		row->inverse_min = ~value;
	if (value > row->max)
		row->max = value;
	row->hist[row_bucket(value)]++;
}

#endif
