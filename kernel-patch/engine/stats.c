// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What all harts measured together.
 */
#include "rows.h"

/* Bits that a byte has without leading zeros. */
const u8 probe_log2[256] = {
	[1] = 1,
	[2 ... 3] = 2,
	[4 ... 7] = 3,
	[8 ... 15] = 4,
	[16 ... 31] = 5,
	[32 ... 63] = 6,
	[64 ... 127] = 7,
	[128 ... 255] = 8,
};

static u64 seen(const u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

bool probe_sum(const struct probe *p, u32 context, struct probe_stats *sum)
{
	u64 inverse_min = 0, any = 0;
	unsigned int hart, i;

	*sum = (struct probe_stats){ .context = context };
	if (context >= p->contexts || !p->rows)
		return false;
	for (hart = 0; hart < PORT_HARTS; hart++) {
		const struct probe_row *row = row_at(p, hart, context * sizeof(*row));
		u64 max = seen(&row->max), min = seen(&row->inverse_min);

		sum->count += seen(&row->count);
		sum->started += seen(&row->started);
		sum->total += seen(&row->total);
		sum->cpu += seen(&row->cpu);
		sum->errors += seen(&row->errors);
		sum->nested += seen(&row->nested);
		sum->missed += seen(&row->missed);
		sum->dropped += seen(&row->dropped);
		sum->ended += seen(&row->ended);
		sum->unread += seen(&row->unread);
		if (max > sum->max)
			sum->max = max;
		if (min > inverse_min)
			inverse_min = min;
		for (i = 0; i < PROBE_BUCKETS; i++)
			sum->hist[i] += seen(&row->hist[i]);
	}
	if (inverse_min)
		sum->min = ~inverse_min;
	any = sum->count | sum->started | sum->missed | sum->dropped | sum->ended | sum->unread;
	return any;
}

void rows_settle(struct probe *p)
{
	struct probe_stats sum;
	unsigned int hart;
	u32 context;

	for (context = 0; context < p->contexts; context++) {
		u64 lost;

		if (!probe_sum(p, context, &sum) || sum.started <= sum.count + sum.ended)
			continue;
		lost = sum.started - sum.count - sum.ended;
		for (hart = 0; hart < PORT_HARTS; hart++) {
			struct probe_row *row = row_at(p, hart, context * sizeof(*row));
			u64 some = row->started < lost ? row->started : lost;

			row->started -= some;
			lost -= some;
		}
	}
}

void probe_reset(struct probe *p)
{
	u64 *word = p->rows;
	size_t n = (size_t)PORT_HARTS * p->stride / sizeof(*word);

	if (!word)
		return;
	while (n--)
		__atomic_store_n(word++, 0, __ATOMIC_RELAXED);
}
