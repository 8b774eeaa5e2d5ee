// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Decodes the words of 32 bits that come on standard input, little-endian, and writes a record for
 * each to standard output. classify_test.go reads them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"

struct record {
	u32 bits;
	u32 full;
	u8 length;
	u8 policy;
	u8 flow;
	u8 simulate;
	u8 reserve;
	u8 pc_relative;
	u8 known;
	u8 unused;
	s64 target;
};

/*
 * Passes the word through insn_fetch from a piece of memory that is no longer than the instruction:
 * the address sanitizer sees a read too far.
 */
static u32 fetched(u32 bits)
{
	size_t length = (bits & 3) == 3 ? 4 : 2;
	void *text = malloc(length);
	u32 got;

	if (!text)
		abort();
	memcpy(text, &bits, length);
	got = insn_fetch(text);
	free(text);
	return got;
}

/* Simulates and moves it, for the sanitizers only: what comes of it is for execute to judge. */
static void exercise(const struct insn *insn)
{
	static const u64 values[] = { 0, 1, -1ull, 1ull << 63, 63, 32, 0x123456789abcdef0ull };
	static unsigned int turn;
	u64 words[PORT_TF_WORDS];
	u8 moved[INSN_MOVED_MAX];
	unsigned int i;

	for (i = 0; i < PORT_TF_WORDS; i++)
		words[i] = values[turn++ % COUNT_OF(values)];
	insn_simulate(insn, (struct trapframe *)words);
	insn_move(insn, 0x1000000, 0x1000000 + turn % 0x200000 * 2, moved);
}

int main(void)
{
	u32 bits;

	while (fread(&bits, sizeof(bits), 1, stdin) == 1) {
		struct insn insn;
		bool known = insn_decode(&insn, fetched(bits));
		struct record record = {
			.bits = insn.bits,
			.full = insn.full,
			.length = insn.length,
			.policy = insn.policy,
			.flow = insn.flow,
			.simulate = insn.simulate,
			.reserve = insn.reserve,
			.pc_relative = insn.pc_relative,
			.known = known,
			.target = insn.target,
		};

		exercise(&insn);
		if (fwrite(&record, sizeof(record), 1, stdout) != 1)
			return 1;
	}
	return fflush(stdout) ? 1 : 0;
}
