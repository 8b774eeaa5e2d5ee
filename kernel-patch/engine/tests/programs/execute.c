// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Runs instructions on the processor, and lets the engine do them: both must end with the same
 * registers, memory and pc. A program for Linux on riscv64, also under qemu-riscv64.
 *
 *	execute SEED SETS compressed		every 16-bit encoding
 *	execute SEED SETS random N		N encodings of every rule of the table
 *	execute SEED SETS FILE			the words in it, little-endian, 32 bits each
 *
 * Each is run with SETS sets of registers that follow from SEED. All executable memory is a sea of
 * c.ebreak in which instructions stand alone, so that wherever one goes a signal tells. The handler
 * of the signal notes what came of one run and sets the registers of the next: no register is lost
 * to the test, and the stack pointer may be anything.
 *
 *	native		the instruction at its own address
 *	moved		what insn_move makes of it elsewhere, with insn_jump to the next behind it
 *	simulated	insn_simulate of the same registers
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include "../../insn.c" /* the table itself, for "random" */
#include "run.h"

#define SEA_SIZE 0x800000ull
#define SEA_MIDDLE (SEA_BASE + SEA_SIZE / 2)
#define CELL 64 /* bytes, at least, from one instruction's place to the next one's */
#define CELL_MAX (2 * (CELL + 14))
#define BATCH 1024
#define TIME_LIMIT 120 /* seconds on a processor: code that never comes back fails */
#define DEFERRALS 16 /* batches that a run may wait for a free target */

static struct run runs[BATCH];
static struct run queue[BATCH];
static size_t n_runs, n_queue;
u8 *scratch, *pristine;
u64 random_state;
struct counts count;
static u64 area_from, area_to;
static unsigned int cell;

/*
 * Where the handler is: which run of the batch, and in which of the two ways. tp is then as random
 * as the other registers, so nothing that the handler calls may use thread-local storage.
 */
static struct {
	size_t i;
	bool elsewhere;
	mcontext_t home;
} at;

static u64 *window_of(const struct run *run)
{
	return (u64 *)((run->operand & ~7ull) - 8);
}

static void note_result(struct run *run, int signal, const siginfo_t *info, const mcontext_t *got)
{
	struct state *state = at.elsewhere ? &run->elsewhere : &run->native;
	int i;

	for (i = 0; i < 32; i++) {
		state->words[i] = got->__gregs[i];
		state->fregs[i] = got->__fpregs.__d.__f[i];
	}
	state->fcsr = got->__fpregs.__d.__fcsr;
	state->signal = signal;
	state->fault = signal == SIGSEGV || signal == SIGBUS ? (u64)info->si_addr : 0;
	if (!run->operand)
		return;
	for (i = 0; i < WINDOW; i++) {
		u64 *word = window_of(run) + i;

		state->window[i] = *word;
		*word = *(u64 *)(pristine + ((u8 *)word - scratch));
	}
}

static void begin(const struct run *run, mcontext_t *set)
{
	int i;

	for (i = 0; i < 32; i++) {
		set->__gregs[i] = run->before.words[i];
		set->__fpregs.__d.__f[i] = run->before.fregs[i];
	}
	set->__fpregs.__d.__fcsr = run->before.fcsr;
	set->__gregs[0] = at.elsewhere ? run->to : run->from;
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	mcontext_t *regs = &((ucontext_t *)context)->uc_mcontext;
	bool own = regs->__gregs[0] >= (u64)&__executable_start && regs->__gregs[0] < (u64)&etext;

	/* A mistake of this program; no instruction under test gets there. */
	if (own && (signal != SIGTRAP || at.i != n_runs))
		_exit(3);
	if (at.i == n_runs) { /* the ebreak of run_batch */
		at.home = *regs;
		at.home.__gregs[0] += 4;
		at.i = 0;
		at.elsewhere = false;
		begin(&runs[0], regs);
		return;
	}
	note_result(&runs[at.i], signal, info, regs);
	if (!at.elsewhere && runs[at.i].moved) {
		at.elsewhere = true;
	} else {
		at.elsewhere = false;
		at.i++;
	}
	if (at.i == n_runs)
		*regs = at.home;
	else
		begin(&runs[at.i], regs);
}

static void fill_sea(u64 start, size_t size)
{
	u16 *half = (u16 *)start;
	size_t i;

	for (i = 0; i < size / 2; i++)
		half[i] = INSN_C_EBREAK;
}

static void *map(u64 address, size_t size, int protection)
{
	void *memory = mmap((void *)address, size, protection,
			    MAP_PRIVATE | MAP_ANONYMOUS | (address ? MAP_FIXED_NOREPLACE : 0),
			    -1, 0);

	if (memory == MAP_FAILED) {
		fprintf(stderr, "mmap %#zx bytes at %#llx: %s\n", size, address, strerror(errno));
		exit(2);
	}
	return memory;
}

static void prepare(void)
{
	static const int signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGILL };
	struct rlimit limit = { TIME_LIMIT, TIME_LIMIT };
	struct sigaction action = {
		.sa_sigaction = on_signal,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
	};
	stack_t stack = { .ss_size = 0x10000 };
	size_t i;

	setrlimit(RLIMIT_CPU, &limit);
	map(SEA_BASE, SEA_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	fill_sea(SEA_BASE, SEA_SIZE);
	scratch = map(0, SCRATCH_SIZE, PROT_READ | PROT_WRITE);
	pristine = map(0, SCRATCH_SIZE, PROT_READ | PROT_WRITE);
	for (i = 0; i < SCRATCH_SIZE / 8; i++)
		((u64 *)pristine)[i] = random_value();
	memcpy(scratch, pristine, SCRATCH_SIZE);
	/* And more behind it: the kernel's frame may be shorter than the C library's type. */
	stack.ss_sp = map(0, stack.ss_size + 4096, PROT_READ | PROT_WRITE);
	sigaltstack(&stack, NULL);
	for (i = 0; i < COUNT_OF(signals); i++)
		sigaction(signals[i], &action, NULL);
}

/*
 * Where instructions stand in this batch, and where they are moved to: next to it, or far. The
 * distance of cells differs from batch to batch: one whose target was taken finds it free later.
 */
static void choose_areas(void)
{
	u64 away = (BATCH * CELL_MAX + random_below(850 << 10)) & ~1ull;

	cell = CELL + 2 * (count.batches % 8);
	area_from = SEA_MIDDLE;
	switch (count.batches++ % 4) {
	case 0:
		area_to = area_from + cell;
		cell *= 2;
		break;
	case 1:
		area_to = area_from - away;
		break;
	default:
		area_to = area_from + away;
		break;
	}
}

/* Whether where it jumps to is free: c.ebreak, not another instruction of the batch. */
static bool target_free(const struct run *run)
{
	switch (run->insn.flow) {
	case INSN_BRANCH:
	case INSN_JUMP:
	case INSN_CALL:
		return *(const u16 *)(run->from + (u64)run->insn.target) == INSN_C_EBREAK;
	}
	return true;
}

static void place(struct run *run, size_t i)
{
	u32 back;

	run->from = area_from + i * cell;
	run->to = area_to + i * cell;
	memcpy((void *)run->from, &run->insn.bits, run->insn.length);
	run->moved = insn_move(&run->insn, run->from, run->to, (void *)run->to);
	if (!run->moved)
		return;
	back = insn_jump(run->to + run->moved, run->from + run->insn.length);
	memcpy((void *)(run->to + run->moved), &back, sizeof(back));
}

static void run_batch(void)
{
	size_t i, n = 0;

	choose_areas();
	for (i = 0; i < n_queue; i++)
		place(&queue[i], i);
	n_runs = 0;
	for (i = 0; i < n_queue; i++) {
		if (target_free(&queue[i])) {
			choose_registers(&queue[i]);
			runs[n_runs++] = queue[i];
		} else if (++queue[i].deferred < DEFERRALS) {
			queue[n++] = queue[i];
		} else {
			count.skipped++;
			/* Only what goes into itself has never a free target. */
			if (queue[i].insn.target < 0 ||
			    queue[i].insn.target >= queue[i].insn.length)
				fail(&queue[i], "native: no place for it was found", 0, 0);
		}
	}
	n_queue = n;
	if (n_runs) {
		at.i = n_runs;
		__builtin___clear_cache((char *)SEA_BASE, (char *)SEA_BASE + SEA_SIZE);
		/* The handler comes back here when all have run. */
		asm volatile(".option push\n.option norvc\nebreak\n.option pop" ::: "memory");
	}
	for (i = 0; i < n_runs; i++)
		compare(&runs[i]);
	if (memcmp(scratch, pristine, SCRATCH_SIZE)) {
		printf("FAIL a batch that ends with %08x wrote to memory beside its operands\n",
		       runs[n_runs - 1].insn.bits);
		count.failures++;
		memcpy(scratch, pristine, SCRATCH_SIZE);
	}
	fill_sea(area_from, BATCH * CELL_MAX);
	fill_sea(area_to, BATCH * CELL_MAX);
}

static void add(u32 bits, unsigned int sets)
{
	struct insn insn;
	unsigned int set;

	count.words++;
	if (!insn_decode(&insn, bits) || insn.policy == INSN_REJECT)
		return;
	for (set = 0; set < sets; set++) {
		queue[n_queue++] = (struct run){ .insn = insn, .set = set };
		if (n_queue == BATCH)
			run_batch();
	}
}

static void add_random(unsigned int sets, unsigned long n)
{
	size_t opcode, i;
	unsigned long k;

	for (opcode = 0; opcode < COUNT_OF(opcodes); opcode++) {
		for (i = 0; i < opcodes[opcode].n; i++) {
			const struct rule *rule = &opcodes[opcode].rules[i];

			for (k = 0; k < n; k++)
				add(rule->match | ((u32)next_random() & ~rule->mask), sets);
		}
	}
}

static int add_file(const char *path, unsigned int sets)
{
	FILE *file = fopen(path, "rb");
	u32 bits;

	if (!file) {
		fprintf(stderr, "open %s: %s\n", path, strerror(errno));
		return 2;
	}
	while (fread(&bits, sizeof(bits), 1, file) == 1)
		add(bits, sets);
	fclose(file);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int sets;
	u32 bits;
	int i;

	if (argc < 4) {
		fprintf(stderr, "usage: execute SEED SETS compressed | random N | FILE\n");
		return 2;
	}
	random_state = strtoull(argv[1], NULL, 0);
	sets = (unsigned int)strtoul(argv[2], NULL, 0);
	prepare();
	if (!strcmp(argv[3], "compressed")) {
		for (bits = 0; bits < 0x10000; bits++)
			if ((bits & 3) != 3)
				add(bits, sets);
	} else if (!strcmp(argv[3], "random") && argc == 5) {
		add_random(sets, strtoul(argv[4], NULL, 0));
	} else if (add_file(argv[3], sets)) {
		return 2;
	}
	for (i = 0; i < DEFERRALS && n_queue; i++)
		run_batch();
	printf("words %lu native %lu moved %lu simulated %lu skipped %lu failures %lu\n",
	       count.words, count.native, count.moved, count.simulated, count.skipped,
	       count.failures);
	return count.failures ? 1 : 0;
}
