// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a run begins with: random registers, but for those that it needs as an address.
 */
#include "encode.h"
#include "run.h"

#define OPCODE_AMO 0x2fu

/* splitmix64 (Steele, Lea, Flood 2014). */
u64 next_random(void)
{
	u64 z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

u64 random_below(u64 n)
{
	return next_random() % n;
}

u64 random_value(void)
{
	static const u64 edges[] = {
		0, 1, -1ull, 1ull << 63, (1ull << 63) - 1, 1ull << 31, (1ull << 31) - 1,
		-1ull << 31, 0xffffffffull, 63, 64, 31, 32,
	};

	switch (random_below(4)) {
	case 0:
		return edges[random_below(COUNT_OF(edges))];
	case 1:
		return (u64)sign_extend((u32)next_random(), 8);
	default:
		return next_random();
	}
}

/* The base register and the offset of what reads or writes memory. False if it does neither. */
static bool memory_operand(u32 full, unsigned int *base, s64 *offset)
{
	*base = insn_rs1(full);
	*offset = 0;
	switch (full & 0x7f) {
	case OPCODE_LOAD:
	case OPCODE_LOAD_FP:
		*offset = insn_imm_i(full);
		return true;
	case OPCODE_STORE:
	case OPCODE_STORE_FP:
		*offset = sign_extend(bits_of(full, 31, 25) << 5 | bits_of(full, 11, 7), 12);
		return true;
	case OPCODE_AMO:
		return true;
	}
	return false;
}

void choose_registers(struct run *run)
{
	u32 full = run->insn.full;
	struct state *state = &run->before;
	unsigned int base;
	s64 offset;
	int i;

	state->words[0] = run->from;
	for (i = 1; i < 32; i++)
		state->words[i] = random_value();
	for (i = 0; i < 32; i++)
		state->fregs[i] = random_below(4) ? next_random() : next_random() | ~0ull << 32;
	/* Rounding modes 0 to 4, and any of the flags. */
	state->fcsr = (u32)(random_below(5) << 5 | random_below(32));
	run->operand = 0;
	if (run->insn.flow == INSN_BRANCH && insn_rs2(full) && random_below(2)) {
		state->words[insn_rs2(full)] = tf_reg((void *)state->words, insn_rs1(full)) +
					       random_below(3) - 1;
	} else if (run->insn.simulate == INSN_SIM_JALR && insn_rs1(full)) {
		state->words[insn_rs1(full)] = SEA_BASE + random_below(SEA_EMPTY) -
					       (u64)insn_imm_i(full);
	} else if (memory_operand(full, &base, &offset) && base) {
		run->operand = (u64)scratch + 64 + 8 * random_below(SCRATCH_SIZE / 8 - 32);
		if ((full & 0x7f) != OPCODE_AMO && !random_below(8))
			run->operand += random_below(8);
		state->words[base] = run->operand - (u64)offset;
	}
}
