/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The probe engine: what a kernel calls to place probes, and what its traps call.
 *
 *	struct probe p = { .address = symbol, .kind = PROBE_LATENCY, .contexts = 1 };
 *	err = probe_prepare(&p, &why);	checks, takes memory and a slot
 *	err = probe_arm(list, 1);	writes text: hits count from here on
 *	probe_sum(&p, 0, &stats);
 *	probe_disarm(list, 1);		text is as it was; no hit is under way any more
 *	probe_release(&p);
 *
 * A hit takes no lock and no memory. It counts into rows of its own hart. Several probes may
 * stand at one address: they share its text, its slot and its hit. What a hit runs may itself be
 * probed: such a hit inside a hit is counted as missed, and does what the text does.
 *
 *	entry by jump	text: jal slot; slot: save ra, call trampoline, restore, moved
 *			instructions, jal back
 *	entry by slot	text: ebreak; trap: hits, pc = slot: moved instruction, jal back
 *	entry simulated	text: ebreak; trap: hits, registers and pc as the instruction would
 *	return		the entry puts probe_return in place of the return address, and notes
 *			the call in the task
 */
#ifndef TRAPLINE_PROBE_H
#define TRAPLINE_PROBE_H

#include "osutils.h"
#include "trapframe.h"
#include "abi.h" /* the port's way to include trapline.h: kinds, reasons, buckets, methods */

struct probe;
struct probe_point; /* one probed address; probe.c */
struct probe_calls; /* room for calls under way; calls.c */

/* Why something is refused: an enum probe_reason, and where. */
struct probe_refusal {
	u32 reason;
	u64 address;
};

/* What one hart measured of one probe in one context. Only that hart writes it. */
struct probe_row {
	u64 count;
	u64 started;
	u64 total; /* ns, or the sum of values */
	u64 inverse_min; /* ~min, so that 0 means none yet */
	u64 max;
	u64 cpu;
	u64 errors;
	u64 nested;
	u64 missed;
	u64 dropped;
	u64 ended;
	u64 unread;
	u64 hist[PROBE_BUCKETS];
};

/* What a hit can tell and ask its owner. All in a trap; each may be 0. */
struct probe_ops {
	/*
	 * At entry. data has the size that the probe asked for: the call's own until its exit.
	 * False: the hit does not count. *value is what PROBE_FLAG_VALUE measures.
	 */
	bool (*entry)(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		      u64 *value);
	/*
	 * At the return of a call whose entry counted, ns after it. False: it does not count, nor
	 * as started. A register that a call does not preserve may be written, a0 for one.
	 */
	bool (*exit)(struct probe *p, struct probe_row *row, struct trapframe *tf, void *data,
		     u64 ns);
};

struct probe {
	/* The owner's, set before probe_prepare. */
	unsigned long address;
	u32 kind;
	u32 contexts;
	u64 flags; /* those of probe_attr that the engine knows: CPU_TIME, ERRORS, VALUE, NO_JUMP */
	u32 active; /* calls under way at once, return and latency */
	u32 data_size; /* bytes a call, for ops */
	bool changes_registers; /* ops write to the trap frame: by ebreak only */
	u8 value_reg; /* entry, VALUE without ops: the register that is measured, 1 to 31 */
	u64 group; /* bit of the task filter; 0: every task */
	const u32 *context; /* where the current one is read; 0: always 0 */
	const struct probe_ops *ops;

	/* The engine's. */
	struct probe_point *point;
	struct probe *next; /* of the same point */
	struct probe_calls *calls;
	void *rows; /* struct probe_row, of each hart and of each context of it */
	void *scratch; /* data of an entry, each hart's */
	unsigned long landing; /* what return addresses are replaced by */
	u32 stride; /* bytes of a hart's rows */
	bool plain; /* a hit needs nothing of the owner, nor a clock that has to be called */
	bool traps; /* a jump does not do */
	bool armed;
};

/*
 * Decides how the probe can be placed, and takes what that needs. Errors as probe_open's. May
 * block.
 */
int probe_prepare(struct probe *p, struct probe_refusal *why);

/*
 * Places prepared probes, all by one change of the text; those that are placed already stay. On
 * an error none of them was placed. May block.
 */
int probe_arm(struct probe **list, size_t n);

/*
 * Takes probes out, all by one change of the text. When it returns no hit of them is under way
 * on any hart; calls that have not returned yet return as ever and count no more. May block.
 */
int probe_disarm(struct probe **list, size_t n);

/*
 * Gives back what a disarmed probe holds. With os_preemptible the owner calls os_wait_for_tasks
 * between the two. May block.
 */
void probe_release(struct probe *p);

/* Adds up all harts. False if the context saw nothing. */
bool probe_sum(const struct probe *p, u32 context, struct probe_stats *sum);
/* Statistics to zero; hits at that moment may survive. */
void probe_reset(struct probe *p);
/* enum probe_method that the probe has, and its slot. */
u32 probe_method(const struct probe *p, unsigned long *slot);

/*
 * From the port's breakpoint trap of the kernel's own mode, interrupts off. False: the
 * breakpoint is none of the engine's.
 */
bool probe_breakpoint(struct trapframe *tf);

/*
 * When a task has ended, before its memory is reused: its calls never return, and must not any
 * more. On its own hart as the last thing that it does, or from anywhere once it can't run.
 */
void probe_task_end(struct probe_task *task);

/* Whether text in [start, end) is changed by the engine. */
bool probe_text_reserved(unsigned long start, unsigned long end);
/*
 * The text at an address as the kernel was built with it. True if something of it is changed
 * now.
 */
bool probe_original(unsigned long address, void *bytes, size_t length);

/* Once, before the first probe. */
int probe_init(void);

#endif
