/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the engine's files share: points, slots, and the offsets that trampoline.S knows.
 *
 *	slot of a jump			slot of an ebreak
 *	 0	address of the point	 0	moved instruction	<- resume
 *	 8	sp -= frame		 …	jal behind it
 *	10	save ra in the frame
 *	12	call the trampoline
 *	16	load ra
 *	18	sp += frame
 *	20	moved instructions	<- resume
 *	 …	jal behind them
 *
 * (Without 16-bit instructions each of the first ones takes 4 bytes.) Text with an ebreak can go
 * on in either slot.
 */
#ifndef TRAPLINE_POINT_H
#define TRAPLINE_POINT_H

#include "port.h"

/* Of struct probe_point. */
#define POINT_HIT 0
#define POINT_WHOLE 8

#define TF_BYTES (PORT_TF_WORDS * 8)
/*
 * Behind the frame: the status register before interrupts went off, and the way back into the
 * slot.
 */
#define FRAME_STATUS TF_BYTES
#define FRAME_SLOT (TF_BYTES + 8)
#define FRAME_BYTES (TF_BYTES + 16)

#define SLOT_CODE 8
#ifdef __riscv_compressed
#define SLOT_LINK 16
#define SLOT_MOVED 20
#else
#define SLOT_LINK 20
#define SLOT_MOVED 28
#endif

/* Interrupts off and on: the supervisor's, unless the port says otherwise. */
#ifndef PORT_STATUS
#define PORT_STATUS sstatus
#define PORT_STATUS_IE 2
#endif

#ifndef __ASSEMBLER__

#include "insn.h"
#include "probe.h"

enum point_text {
	POINT_TEXT_OWN, /* what the kernel was built with */
	POINT_TEXT_BREAK,
	POINT_TEXT_JUMP,
};

/* A probed address: from the first probe_prepare of it to the last probe_release. */
struct probe_point {
	/* For the trampoline: it can't know an address */
	void (*hit)(struct trapframe *tf, struct probe_point *point);
	unsigned long whole; /* a hit by jump needs the registers too that a call preserves */
	unsigned long address;
	struct probe *simple; /* the only probe that is armed, if it is plain; read in a trap */
	struct probe *probes; /* armed; read in a trap */
	struct probe_point *live; /* next one of those that a trap finds */
	struct probe_point *known; /* next one of all */
	unsigned long function; /* where the function begins */
	unsigned long slot; /* 0: none */
	unsigned long resume; /* where a trap goes on; 0: it simulates */
	u32 slot_bytes;
	u32 users; /* prepared probes */
	u32 armed; /* of them */
	u32 trapping; /* of those: want an ebreak */
	u8 text; /* enum point_text */
	u8 wanted; /* the same, while text is about to be changed */
	bool pending; /* an edit of the slot is in the list */
	bool edited; /* one of the text is */
	bool jump; /* the slot is one of a jump, */
	bool jumps; /* and a jump is safe */
	bool written; /* the slot is in memory */
	bool findable; /* it is in the trap's table */
	u8 run; /* displaced bytes: 2, 4 or 6. Only with a jump more than the first instruction */
	u8 insns; /* displaced instructions */
	struct insn insn[2];
};

/* What a hit on this hart is doing. */
struct probe_hart {
	unsigned long busy; /* a handler runs: another hit is missed */
	unsigned long pad[7];
};

extern struct probe_hart *probe_harts; /* [PORT_HARTS] */

/* hit.c */
void probe_hit(struct trapframe *tf, struct probe_point *point);
void probe_returned(struct trapframe *tf);

/* trampoline.S */
extern const char probe_trampoline[], probe_trampoline_end[];
void probe_return(void);
void probe_return_whole(void);

/* points.c: tables of points. The first may be called in a trap, all others need the lock. */
struct probe_point *point_live(unsigned long address);
struct probe_point *point_known(unsigned long address);
void point_know(struct probe_point *point);
void point_forget(struct probe_point *point);
void point_find_begin(struct probe_point *point);
void point_find_end(struct probe_point *point);
int points_init(void);
/* os_write_text for all of the engine: behind it, points that traps found before are freed. */
int points_write(const struct os_edit *edits, size_t n);
/* Frees a point that no trap finds any more, and its slot, behind the next points_write. */
void point_retire(struct probe_point *point);
/* Whether there are such. */
bool points_retired(void);

/* place.c: how a new point can be placed. Takes a slot; errors as probe_prepare. */
int point_place(struct probe_point *point, bool jump, struct probe_refusal *why);
/* The instruction at an address as the kernel was built with it. */
u32 place_fetch(unsigned long address);
/* The same of a byte. False if it is as it was. */
bool place_byte(unsigned long address, u8 *byte);

/* write.c: makes the text of a point as it should be; of the points of all probes of a list. */
int point_write(struct probe_point *point);
int points_write_all(struct probe **list, size_t n);

/* slots.c: slots are made of pieces. */
#define SLOT_PIECE 8u
int slots_init(void);
/* Room for the slot of a point, within reach of all that it jumps to; 0 if there is none. */
unsigned long slot_take(const struct probe_point *point, u32 bytes);
void slot_give_back(unsigned long slot, u32 bytes);
/* Whether a pool is nearly full. */
bool slots_scarce(void);
/* The trampoline that serves a slot. */
unsigned long slot_trampoline(unsigned long slot);
/* Writes what the slot of a point holds: bytes of it, 0 if that can't be. */
u32 slot_build(const struct probe_point *point, void *code);
#define SLOT_BYTES_MAX (SLOT_MOVED + 2 * INSN_MOVED_MAX + 4)

/* Interrupts of this hart off; gives what hart_restore takes. */
#define HART_CSR_NAME(x) #x
#define HART_CSR(x) HART_CSR_NAME(x)

static inline unsigned long hart_off(void)
{
	unsigned long status;

	asm volatile("csrrc %0, " HART_CSR(PORT_STATUS) ", %1"
		     : "=r"(status) : "rK"(PORT_STATUS_IE) : "memory");
	return status & PORT_STATUS_IE;
}

static inline void hart_restore(unsigned long status)
{
	asm volatile("csrs " HART_CSR(PORT_STATUS) ", %0" : : "rK"(status) : "memory");
}

#endif /* __ASSEMBLER__ */

#endif
