// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The instructions that the engine knows, and its policy for each.
 *
 * A 16-bit instruction stands for a 32-bit one (compressed.c), which is looked up in its place:
 * what is here holds for both.
 */
#include "encode.h"
#include "insn.h"

#define REJECT INSN_REJECT
#define SIMULATE INSN_SIMULATE
#define SLOT INSN_SLOT

/* More than mask and match can tell, and what else there is to know. */
enum rule_note {
	ROUND = 1, /* bits 14 to 12 are a rounding mode: 5 and 6 are reserved */
	LR,
	SC,
};

/*
 * An instruction is the first rule of its opcode with (bits & mask) == match. simulate says more
 * than the policy: plain arithmetic runs in a slot, and is simulated where none is within reach.
 */
struct rule {
	u32 mask;
	u32 match;
	u8 policy;
	u8 simulate;
	u8 note; /* enum rule_note, 0 none */
};

static const struct rule load[] = {
	{ 0x0000707f, 0x00000003, SLOT, 0, 0 }, /* lb */
	{ 0x0000707f, 0x00001003, SLOT, 0, 0 }, /* lh */
	{ 0x0000707f, 0x00002003, SLOT, 0, 0 }, /* lw */
	{ 0x0000707f, 0x00003003, SLOT, 0, 0 }, /* ld */
	{ 0x0000707f, 0x00004003, SLOT, 0, 0 }, /* lbu */
	{ 0x0000707f, 0x00005003, SLOT, 0, 0 }, /* lhu */
	{ 0x0000707f, 0x00006003, SLOT, 0, 0 }, /* lwu */
};

static const struct rule load_fp[] = {
	{ 0x0000707f, 0x00002007, SLOT, 0, 0 }, /* flw */
	{ 0x0000707f, 0x00003007, SLOT, 0, 0 }, /* fld */
};

/*
 * A fence orders what its hart did before against what it does behind, wherever it stands. fence.i
 * is about the text behind it. The cache-block operations (funct3 2) are not in RV64GC.
 */
static const struct rule misc_mem[] = {
	{ 0xf00fffff, 0x0000000f, SLOT, 0, 0 }, /* fence, pause */
	{ 0xffffffff, 0x8330000f, SLOT, 0, 0 }, /* fence.tso */
	{ 0xffffffff, 0x0000100f, REJECT, 0, 0 }, /* fence.i */
};

/* With rd x0 they are hints, or nothing, and as harmless in a slot; nop is addi x0, x0, 0. */
static const struct rule op_imm[] = {
	{ 0x0000707f, 0x00000013, SLOT, INSN_SIM_ADD, 0 }, /* addi */
	{ 0x0000707f, 0x00002013, SLOT, INSN_SIM_SLT, 0 }, /* slti */
	{ 0x0000707f, 0x00003013, SLOT, INSN_SIM_SLTU, 0 }, /* sltiu */
	{ 0x0000707f, 0x00004013, SLOT, INSN_SIM_XOR, 0 }, /* xori */
	{ 0x0000707f, 0x00006013, SLOT, INSN_SIM_OR, 0 }, /* ori */
	{ 0x0000707f, 0x00007013, SLOT, INSN_SIM_AND, 0 }, /* andi */
	{ 0xfc00707f, 0x00001013, SLOT, INSN_SIM_SLL, 0 }, /* slli */
	{ 0xfc00707f, 0x00005013, SLOT, INSN_SIM_SRL, 0 }, /* srli */
	{ 0xfc00707f, 0x40005013, SLOT, INSN_SIM_SRA, 0 }, /* srai */
};

static const struct rule auipc[] = {
	{ 0x0000007f, 0x00000017, SIMULATE, INSN_SIM_AUIPC, 0 }, /* auipc */
};

static const struct rule op_imm_32[] = {
	{ 0x0000707f, 0x0000001b, SLOT, INSN_SIM_ADDW, 0 }, /* addiw */
	{ 0xfe00707f, 0x0000101b, SLOT, INSN_SIM_SLLW, 0 }, /* slliw */
	{ 0xfe00707f, 0x0000501b, SLOT, INSN_SIM_SRLW, 0 }, /* srliw */
	{ 0xfe00707f, 0x4000501b, SLOT, INSN_SIM_SRAW, 0 }, /* sraiw */
};

static const struct rule store[] = {
	{ 0x0000707f, 0x00000023, SLOT, 0, 0 }, /* sb */
	{ 0x0000707f, 0x00001023, SLOT, 0, 0 }, /* sh */
	{ 0x0000707f, 0x00002023, SLOT, 0, 0 }, /* sw */
	{ 0x0000707f, 0x00003023, SLOT, 0, 0 }, /* sd */
};

static const struct rule store_fp[] = {
	{ 0x0000707f, 0x00002027, SLOT, 0, 0 }, /* fsw */
	{ 0x0000707f, 0x00003027, SLOT, 0, 0 }, /* fsd */
};

/*
 * Bit 12 is the width, bits 26 and 25 are aq and rl. A trap gives up a reservation, and so may a
 * slot far from the other half: a probe on either would make their loop go round for ever.
 */
static const struct rule amo[] = {
	{ 0xf9f0607f, 0x1000202f, REJECT, 0, LR }, /* lr.w lr.d */
	{ 0xf800607f, 0x1800202f, REJECT, 0, SC }, /* sc.w sc.d */
	{ 0xf800607f, 0x0000202f, SLOT, 0, 0 }, /* amoadd */
	{ 0xf800607f, 0x0800202f, SLOT, 0, 0 }, /* amoswap */
	{ 0xf800607f, 0x2000202f, SLOT, 0, 0 }, /* amoxor */
	{ 0xf800607f, 0x4000202f, SLOT, 0, 0 }, /* amoor */
	{ 0xf800607f, 0x6000202f, SLOT, 0, 0 }, /* amoand */
	{ 0xf800607f, 0x8000202f, SLOT, 0, 0 }, /* amomin */
	{ 0xf800607f, 0xa000202f, SLOT, 0, 0 }, /* amomax */
	{ 0xf800607f, 0xc000202f, SLOT, 0, 0 }, /* amominu */
	{ 0xf800607f, 0xe000202f, SLOT, 0, 0 }, /* amomaxu */
};

static const struct rule op[] = {
	{ 0xfe00707f, 0x00000033, SLOT, INSN_SIM_ADD, 0 }, /* add */
	{ 0xfe00707f, 0x40000033, SLOT, INSN_SIM_SUB, 0 }, /* sub */
	{ 0xfe00707f, 0x00001033, SLOT, INSN_SIM_SLL, 0 }, /* sll */
	{ 0xfe00707f, 0x00002033, SLOT, INSN_SIM_SLT, 0 }, /* slt */
	{ 0xfe00707f, 0x00003033, SLOT, INSN_SIM_SLTU, 0 }, /* sltu */
	{ 0xfe00707f, 0x00004033, SLOT, INSN_SIM_XOR, 0 }, /* xor */
	{ 0xfe00707f, 0x00005033, SLOT, INSN_SIM_SRL, 0 }, /* srl */
	{ 0xfe00707f, 0x40005033, SLOT, INSN_SIM_SRA, 0 }, /* sra */
	{ 0xfe00707f, 0x00006033, SLOT, INSN_SIM_OR, 0 }, /* or */
	{ 0xfe00707f, 0x00007033, SLOT, INSN_SIM_AND, 0 }, /* and */
	{ 0xfe00707f, 0x02000033, SLOT, INSN_SIM_MUL, 0 }, /* mul */
	{ 0xfe00707f, 0x02001033, SLOT, 0, 0 }, /* mulh */
	{ 0xfe00707f, 0x02002033, SLOT, 0, 0 }, /* mulhsu */
	{ 0xfe00707f, 0x02003033, SLOT, 0, 0 }, /* mulhu */
	{ 0xfe00707f, 0x02004033, SLOT, 0, 0 }, /* div */
	{ 0xfe00707f, 0x02005033, SLOT, 0, 0 }, /* divu */
	{ 0xfe00707f, 0x02006033, SLOT, 0, 0 }, /* rem */
	{ 0xfe00707f, 0x02007033, SLOT, 0, 0 }, /* remu */
};

static const struct rule lui[] = {
	{ 0x0000007f, 0x00000037, SLOT, INSN_SIM_LUI, 0 }, /* lui */
};

static const struct rule op_32[] = {
	{ 0xfe00707f, 0x0000003b, SLOT, INSN_SIM_ADDW, 0 }, /* addw */
	{ 0xfe00707f, 0x4000003b, SLOT, INSN_SIM_SUBW, 0 }, /* subw */
	{ 0xfe00707f, 0x0000103b, SLOT, INSN_SIM_SLLW, 0 }, /* sllw */
	{ 0xfe00707f, 0x0000503b, SLOT, INSN_SIM_SRLW, 0 }, /* srlw */
	{ 0xfe00707f, 0x4000503b, SLOT, INSN_SIM_SRAW, 0 }, /* sraw */
	{ 0xfe00707f, 0x0200003b, SLOT, INSN_SIM_MULW, 0 }, /* mulw */
	{ 0xfe00707f, 0x0200403b, SLOT, 0, 0 }, /* divw */
	{ 0xfe00707f, 0x0200503b, SLOT, 0, 0 }, /* divuw */
	{ 0xfe00707f, 0x0200603b, SLOT, 0, 0 }, /* remw */
	{ 0xfe00707f, 0x0200703b, SLOT, 0, 0 }, /* remuw */
};

/* Floating point of single and double precision; bit 25 tells which. */
static const struct rule madd[] = {
	{ 0x0400007f, 0x00000043, SLOT, 0, ROUND }, /* fmadd */
};

static const struct rule msub[] = {
	{ 0x0400007f, 0x00000047, SLOT, 0, ROUND }, /* fmsub */
};

static const struct rule nmsub[] = {
	{ 0x0400007f, 0x0000004b, SLOT, 0, ROUND }, /* fnmsub */
};

static const struct rule nmadd[] = {
	{ 0x0400007f, 0x0000004f, SLOT, 0, ROUND }, /* fnmadd */
};

static const struct rule op_fp[] = {
	{ 0xfc00007f, 0x00000053, SLOT, 0, ROUND }, /* fadd */
	{ 0xfc00007f, 0x08000053, SLOT, 0, ROUND }, /* fsub */
	{ 0xfc00007f, 0x10000053, SLOT, 0, ROUND }, /* fmul */
	{ 0xfc00007f, 0x18000053, SLOT, 0, ROUND }, /* fdiv */
	{ 0xfdf0007f, 0x58000053, SLOT, 0, ROUND }, /* fsqrt */
	{ 0xfc00707f, 0x20000053, SLOT, 0, 0 }, /* fsgnj */
	{ 0xfc00707f, 0x20001053, SLOT, 0, 0 }, /* fsgnjn */
	{ 0xfc00707f, 0x20002053, SLOT, 0, 0 }, /* fsgnjx */
	{ 0xfc00707f, 0x28000053, SLOT, 0, 0 }, /* fmin */
	{ 0xfc00707f, 0x28001053, SLOT, 0, 0 }, /* fmax */
	{ 0xfff0007f, 0x40100053, SLOT, 0, ROUND }, /* fcvt.s.d */
	{ 0xfff0007f, 0x42000053, SLOT, 0, ROUND }, /* fcvt.d.s */
	{ 0xfc00707f, 0xa0000053, SLOT, 0, 0 }, /* fle */
	{ 0xfc00707f, 0xa0001053, SLOT, 0, 0 }, /* flt */
	{ 0xfc00707f, 0xa0002053, SLOT, 0, 0 }, /* feq */
	{ 0xfdc0007f, 0xc0000053, SLOT, 0, ROUND }, /* fcvt.{w,wu,l,lu}.{s,d} */
	{ 0xfdc0007f, 0xd0000053, SLOT, 0, ROUND }, /* fcvt.{s,d}.{w,wu,l,lu} */
	{ 0xfdf0707f, 0xe0000053, SLOT, 0, 0 }, /* fmv.x.w fmv.x.d */
	{ 0xfdf0707f, 0xe0001053, SLOT, 0, 0 }, /* fclass */
	{ 0xfdf0707f, 0xf0000053, SLOT, 0, 0 }, /* fmv.w.x fmv.d.x */
};

static const struct rule branch[] = {
	{ 0x0000707f, 0x00000063, SIMULATE, INSN_SIM_BRANCH, 0 }, /* beq */
	{ 0x0000707f, 0x00001063, SIMULATE, INSN_SIM_BRANCH, 0 }, /* bne */
	{ 0x0000707f, 0x00004063, SIMULATE, INSN_SIM_BRANCH, 0 }, /* blt */
	{ 0x0000707f, 0x00005063, SIMULATE, INSN_SIM_BRANCH, 0 }, /* bge */
	{ 0x0000707f, 0x00006063, SIMULATE, INSN_SIM_BRANCH, 0 }, /* bltu */
	{ 0x0000707f, 0x00007063, SIMULATE, INSN_SIM_BRANCH, 0 }, /* bgeu */
};

/* Without a link it never comes back to where it stood: a slot will do. */
static const struct rule jalr[] = {
	{ 0x00007fff, 0x00000067, SLOT, INSN_SIM_JALR, 0 }, /* jr */
	{ 0x0000707f, 0x00000067, SIMULATE, INSN_SIM_JALR, 0 }, /* jalr */
};

static const struct rule jal[] = {
	{ 0x0000007f, 0x0000006f, SIMULATE, INSN_SIM_JAL, 0 }, /* jal */
};

/*
 * All of SYSTEM is refused: a trap would come from the slot's address, and the others
 * read or change what the hit itself changes (status, scratch, exception pc, address space).
 */
static const struct rule system_op[] = {
	{ 0xffffffff, 0x00000073, REJECT, 0, 0 }, /* ecall */
	{ 0xffffffff, 0x00100073, REJECT, 0, 0 }, /* ebreak */
	{ 0xffffffff, 0x10200073, REJECT, 0, 0 }, /* sret */
	{ 0xffffffff, 0x30200073, REJECT, 0, 0 }, /* mret */
	{ 0xffffffff, 0x10500073, REJECT, 0, 0 }, /* wfi */
	{ 0xfe007fff, 0x12000073, REJECT, 0, 0 }, /* sfence.vma */
	{ 0x0000707f, 0x00001073, REJECT, 0, 0 }, /* csrrw */
	{ 0x0000707f, 0x00002073, REJECT, 0, 0 }, /* csrrs */
	{ 0x0000707f, 0x00003073, REJECT, 0, 0 }, /* csrrc */
	{ 0x0000707f, 0x00005073, REJECT, 0, 0 }, /* csrrwi */
	{ 0x0000707f, 0x00006073, REJECT, 0, 0 }, /* csrrsi */
	{ 0x0000707f, 0x00007073, REJECT, 0, 0 }, /* csrrci */
};

#define RULES(table) { table, sizeof(table) / sizeof((table)[0]) }

/* By bits 6 to 2. The low two are 3 in all 32-bit instructions. */
static const struct {
	const struct rule *rules;
	u32 n;
} opcodes[32] = {
	[0x00] = RULES(load),
	[0x01] = RULES(load_fp),
	[0x03] = RULES(misc_mem),
	[0x04] = RULES(op_imm),
	[0x05] = RULES(auipc),
	[0x06] = RULES(op_imm_32),
	[0x08] = RULES(store),
	[0x09] = RULES(store_fp),
	[0x0b] = RULES(amo),
	[0x0c] = RULES(op),
	[0x0d] = RULES(lui),
	[0x0e] = RULES(op_32),
	[0x10] = RULES(madd),
	[0x11] = RULES(msub),
	[0x12] = RULES(nmsub),
	[0x13] = RULES(nmadd),
	[0x14] = RULES(op_fp),
	[0x18] = RULES(branch),
	[0x19] = RULES(jalr),
	[0x1b] = RULES(jal),
	[0x1c] = RULES(system_op),
};

static bool matches(const struct rule *rule, u32 bits)
{
	if ((bits & rule->mask) != rule->match)
		return false;
	if (rule->note == ROUND) {
		u32 mode = bits_of(bits, 14, 12);

		return mode != 5 && mode != 6;
	}
	return true;
}

static const struct rule *find_rule(u32 bits)
{
	u32 opcode = bits_of(bits, 6, 2);
	u32 i;

	for (i = 0; i < opcodes[opcode].n; i++)
		if (matches(&opcodes[opcode].rules[i], bits))
			return &opcodes[opcode].rules[i];
	return 0;
}

static void set_flow(struct insn *insn)
{
	bool link = insn_rd(insn->full) != 0;

	switch (insn->simulate) {
	case INSN_SIM_AUIPC:
		insn->pc_relative = true;
		insn->target = insn_imm_u(insn->full);
		break;
	case INSN_SIM_BRANCH:
		insn->flow = INSN_BRANCH;
		insn->pc_relative = true;
		insn->target = insn_imm_b(insn->full);
		break;
	case INSN_SIM_JAL:
		insn->flow = link ? INSN_CALL : INSN_JUMP;
		insn->pc_relative = true;
		insn->target = insn_imm_j(insn->full);
		break;
	case INSN_SIM_JALR:
		insn->flow = link ? INSN_CALL_REG : INSN_JUMP_REG;
		break;
	}
}

bool insn_decode(struct insn *insn, u32 bits)
{
	const struct rule *rule = 0;

	*insn = (struct insn){ .bits = bits, .length = 4, .policy = INSN_REJECT };
	if ((bits & 3) == 3) {
		insn->full = bits;
	} else {
		insn->length = 2;
		insn->bits = bits & 0xffff;
		insn->full = insn_expand(insn->bits);
	}
	if ((insn->full & 3) == 3)
		rule = find_rule(insn->full);
	if (!rule) {
		insn->full = 0;
		return false;
	}
	insn->policy = rule->policy;
	insn->simulate = rule->simulate;
	if (rule->note == LR)
		insn->reserve = INSN_LOAD_RESERVED;
	else if (rule->note == SC)
		insn->reserve = INSN_STORE_CONDITIONAL;
	set_flow(insn);
	return true;
}

u32 insn_fetch(const void *text)
{
	const u16 __attribute__((__may_alias__)) *half = text;
	u32 low = half[0];

	return (low & 3) == 3 ? low | (u32)half[1] << 16 : low;
}
