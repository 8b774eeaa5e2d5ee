/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * The system call probe_open, the only definition of its interface. A kernel with the patch has
 * this file among its uapi headers (linux/); the Go side (loader/patch) has a test that its
 * structs agree with it byte for byte.
 *
 *	int probe_open(struct probe_attr *attr, size_t size, unsigned int flags);
 *
 * opens one probe, disabled, and returns a close-on-exec descriptor. flags must be 0. Probes
 * opened with the descriptor of another one as group_fd share its group: context page, event
 * ring, task filter.
 *
 *	read	the statistics: a struct probe_stats for each context that saw something, all harts
 *		summed. Always the whole state, at no offset: ENOSPC if the buffer is too small
 *		for it. EFAULT.
 *	mmap	offset 0, one page: struct probe_page, read and write.
 *		offset one page, 1 + 2^n pages, 2^n at most 2^14: struct probe_ring and the events,
 *		read only. Makes the group's ring; EBUSY if it has another size already.
 *		EINVAL if it is not MAP_SHARED, or PROT_EXEC, or any other offset or size, EPERM
 *		for a ring to write, ENOMEM. A fork does not inherit these mappings.
 *	poll	POLLIN when the ring holds wakeup bytes; POLLHUP when a followed task is left no
 *		more (filter only).
 *	ioctl	PROBE_IOC_…
 *	close	removes the probe.
 *
 * Fields that mean nothing for what is asked are 0, so that a later version can give them a
 * meaning. When probe_open fails it writes to attr's reason and reason_address, if it has read
 * attr and can write there.
 *
 * Errors of probe_open:
 *	E2BIG		attr is longer than the kernel knows and what it does not know is not zero,
 *			or it is longer than 4096 bytes
 *	EINVAL		attr is too short, a field of it is no value that it can have, or the
 *			symbol is longer than PROBE_SYMBOL_MAX with its NUL
 *	EFAULT		attr, the symbol, fetches, tests or constants can't be read
 *	EPERM		no CAP_PERFMON and no CAP_SYS_ADMIN, or the kernel is locked down
 *			(LOCKDOWN_KPROBES)
 *	ENOENT		no function has the symbol, or the address lies in none
 *	EADDRNOTAVAIL	several functions have it: choose by address
 *	ERANGE		the offset lies beyond the function
 *	EILSEQ		no instruction begins at the offset
 *	EACCES		text that must not be probed; reason says which
 *	EOPNOTSUPP	an instruction that can't be, or what attr asks for is not in this kernel;
 *			reason says which. Without one: the kernel had no memory for the engine
 *			when it started
 *	EBUSY		a kprobe is there
 *	ENOSPC		no slot is free within reach
 *	EUSERS		64 groups with a task filter are open
 *	EBADF		group_fd is no descriptor of a probe
 *	ENOMEM, EMFILE, ENFILE
 */
#ifndef _UAPI_LINUX_TRAPLINE_H
#define _UAPI_LINUX_TRAPLINE_H

#include <linux/types.h>
#include <linux/ioctl.h>

/* Numbers 244 to 259 belong to the architecture; RISC-V's own calls count down from 259. */
#define __NR_probe_open 244

#define PROBE_ATTR_SIZE_VER0 136

#define PROBE_BUCKETS 48
#define PROBE_CONTEXTS_MAX 1024
#define PROBE_FETCHES 12
#define PROBE_VALUES 8 /* fetches that an event shows; those behind them only serve the predicate */
#define PROBE_DEREFS 4
#define PROBE_TESTS 16
#define PROBE_STRINGS 4 /* string values of a probe, and string constants of its predicate */
#define PROBE_STRING_SIZE 128
#define PROBE_CONSTANT_SIZE 64
#define PROBE_FRAMES_MAX 64
#define PROBE_STACK_WORDS_MAX 64
#define PROBE_REGS 32 /* pc, x1 to x31 */
#define PROBE_SYMBOL_MAX 512

enum probe_kind {
	PROBE_ENTRY = 1, /* the instruction at symbol + offset is about to run */
	PROBE_RETURN = 2, /* the function has returned; offset is 0 */
	PROBE_LATENCY = 3, /* from entry to return; offset is 0 */
};

/* probe_attr.flags */
/* Group: only tasks of PROBE_IOC_FOLLOW and what they start. The group's first probe decides */
#define PROBE_FLAG_FILTER 0x01ULL
#define PROBE_FLAG_EVENTS 0x02ULL /* send an event for each hit that counts */
#define PROBE_FLAG_CPU_TIME 0x04ULL /* latency: sum the time on CPU too */
#define PROBE_FLAG_ERRORS 0x08ULL /* count returns of -4095 to -1 as errors */
/* Entry: total, min, max and hist are those of fetch 0, a number */
#define PROBE_FLAG_VALUE 0x10ULL
#define PROBE_FLAG_NO_JUMP 0x20ULL /* by ebreak also where a jump could be placed */
#define PROBE_FLAG_REGS 0x40ULL /* events carry the registers */
#define PROBE_FLAGS_ALL 0x7fULL

/* Where a fetch begins. */
enum probe_base {
	PROBE_BASE_REG, /* register index; 0 is pc */
	PROBE_BASE_RETVAL,
	PROBE_BASE_IMMEDIATE,
	PROBE_BASE_COMM,
	PROBE_BASE_PID,
	PROBE_BASE_TID,
	PROBE_BASE_UID,
	PROBE_BASE_CPU,
	PROBE_BASE_LATENCY,
	PROBE_BASE_CONTEXT,
};

enum probe_format {
	PROBE_FORMAT_UNSIGNED,
	PROBE_FORMAT_SIGNED,
	PROBE_FORMAT_STRING, /* in the kernel's memory, up to its NUL */
	PROBE_FORMAT_USER_STRING,
};

/*
 * One value: a base, then memory reads, each at the value so far plus an offset. The last read of
 * a string gives its address.
 */
struct probe_fetch {
	__u64 value; /* of PROBE_BASE_IMMEDIATE */
	__s32 offset[PROBE_DEREFS]; /* the first derefs of them */
	__u8 base;
	__u8 index; /* of PROBE_BASE_REG: 0 to 31 */
	__u8 derefs;
	__u8 user; /* a bit a read: from the process' memory */
	__u8 format;
	__u8 size; /* 1, 2, 4 or 8; of a string 1 */
	__u8 string; /* which of the event's strings, of a string */
	__u8 at_return;
	__u8 pad[8]; /* 0 */
};

enum probe_test_op {
	PROBE_TEST_EQUAL,
	PROBE_TEST_NOT_EQUAL,
	PROBE_TEST_LESS,
	PROBE_TEST_LESS_EQUAL,
	PROBE_TEST_GREATER,
	PROBE_TEST_GREATER_EQUAL,
	PROBE_TEST_BITS,
	PROBE_TEST_STRING,
	PROBE_TEST_NOT_STRING,
	PROBE_TEST_GLOB,
	PROBE_TEST_AND,
	PROBE_TEST_OR,
	PROBE_TEST_NOT,
};

/*
 * One step of a predicate in postfix order on a stack of bits. A value that could not be read
 * makes a comparison false.
 */
struct probe_test {
	__u64 value; /* right side, unless right is a fetch; of numbers */
	__u8 op;
	__u8 is_signed; /* of numbers */
	__u8 left; /* fetch; 0 of what joins other steps */
	__u8 right; /* fetch + 1, or 0; of strings: constant; 0 of what joins other steps */
	__u8 pad[4]; /* 0 */
};

struct probe_attr {
	__u32 size; /* of this struct, as the caller knows it */
	__u32 kind; /* enum probe_kind */
	__u64 flags;
	__u64 symbol; /* address of a NUL-terminated name; 0: address is the place */
	__u64 address; /* with a symbol: which of the functions of that name, or 0 */
	__u64 offset; /* bytes behind the symbol or address */
	__u64 cookie; /* in each event */
	__s32 group_fd; /* a probe of the group; -1: a new one */
	/* Told apart, from 0 on; the last one takes all above. 1 to PROBE_CONTEXTS_MAX; 0 is 1 */
	__u32 contexts;
	/*
	 * Return, latency: calls that can be under way at once; 0: the kernel's default. At most
	 * 65536
	 */
	__u32 active;
	__u32 frames; /* of the kernel's call chain in an event */
	__u32 stack_words; /* from the stack pointer on, in an event, as far as the stack goes */
	__u32 fetch_count;
	__u32 test_count; /* tests at entry, then */
	__u32 return_test_count; /* those at the return */
	__u64 fetches; /* address of struct probe_fetch[fetch_count] */
	__u64 tests; /* address of struct probe_test[test_count + return_test_count] */
	__u64 constants; /* address of char[PROBE_STRINGS][PROBE_CONSTANT_SIZE], or 0 */
	/*
	 * Bytes in the ring that wake a poll; 0 is 1. At most 2^26, the largest ring. The group's
	 * first probe decides
	 */
	__u32 wakeup;
	__u32 reason; /* out, when the call fails: enum probe_reason */
	/* Out, with a reason: what the instruction or the text's range begins at */
	__u64 reason_address;
	__u64 reserved[2]; /* 0 */
};

/* Why probe_open fails. */
enum probe_reason {
	PROBE_REASON_NONE,
	PROBE_REASON_ENTRY_TEXT, /* EACCES: the trap and entry path */
	PROBE_REASON_ENGINE, /* EACCES: the probe engine itself */
	PROBE_REASON_NOINSTR, /* EACCES: noinstr text */
	PROBE_REASON_KPROBES_TEXT, /* EACCES: .kprobes text, or on the kprobes blacklist */
	PROBE_REASON_INIT_TEXT, /* EACCES: text that is gone after boot */
	PROBE_REASON_PATCHING, /* EACCES: runs while text is patched */
	PROBE_REASON_LR_SC, /* EACCES: between a load-reserved and its store-conditional */
	PROBE_REASON_EXTABLE, /* EACCES: an instruction with an exception table entry */
	PROBE_REASON_JUMP_LABEL, /* EACCES: a jump label, whose text the kernel changes */
	PROBE_REASON_NOT_TEXT, /* ENOENT: no function of the kernel */
	PROBE_REASON_BOUNDARY, /* EILSEQ: inside an instruction */
	PROBE_REASON_INSTRUCTION, /* EOPNOTSUPP: neither a slot nor a simulation can run it */
	PROBE_REASON_KPROBE, /* EBUSY: a kprobe is there */
	PROBE_REASON_SLOTS, /* ENOSPC: all slots within reach are taken */
	PROBE_REASON_LOCKDOWN, /* EPERM: the kernel is locked down */
	PROBE_REASON_STACK, /* EOPNOTSUPP: frames without CONFIG_FRAME_POINTER */
	/* EACCES: what enters it does not come back by its return address */
	PROBE_REASON_NO_RETURN,
};

/* What was measured of one probe in one context. Times are ns. read gives these. */
struct probe_stats {
	__u32 context;
	__u32 pad;
	__u64 count; /* hits; of return and latency probes: calls that returned */
	/*
	 * Calls that entered, of return and latency probes. Those that never come back are in ended
	 * too; those that were under way when the probe was disabled are in none from when it is
	 * enabled again
	 */
	__u64 started;
	__u64 total;
	__u64 min; /* 0 if there was none */
	__u64 max;
	__u64 cpu;
	__u64 errors;
	__u64 nested; /* hits of other probes of the engine inside these calls */
	/*
	 * Hits inside the engine's own work, and calls that found no room to note their return
	 * address
	 */
	__u64 missed;
	__u64 dropped; /* events that found the ring full, or no ring */
	__u64 ended; /* calls that their task never came back from: it ended inside */
	/*
	 * Hits that do not count, whose predicate has compared what was not in memory (whether or
	 * not that decided), or whose value was not
	 */
	__u64 unread;
	/* Bucket 0: zeros; bucket i: [2^(i-1), 2^i); the last one all above too */
	__u64 hist[PROBE_BUCKETS];
};

/* How a probe is placed. */
enum probe_method {
	PROBE_METHOD_JUMP = 1, /* a jump to a slot, no trap */
	PROBE_METHOD_SLOT = 2, /* ebreak; the instruction runs in a slot */
	PROBE_METHOD_SIMULATE = 3, /* ebreak; the engine does what the instruction would */
};

struct probe_info {
	__u64 address; /* of the probe */
	__u64 function; /* where its function begins */
	__u64 function_size; /* bytes */
	__u32 instruction; /* the displaced one, or its 16 bits */
	__u32 method; /* enum probe_method, that it has or, while disabled, would have */
	__u64 slot; /* its address; 0: none */
	__u32 enabled;
	__u32 harts; /* that statistics are kept for */
	__u64 cookie;
};

/*
 * Errors of all: ENOTTY for a request that is none, EINVAL for another argument than is said.
 * What is enabled already, or disabled, stays so and is none.
 */
#define PROBE_IOC_MAGIC 0xb9
/*
 * Argument: 0, or PROBE_GROUP for all probes of the group at once. ENOMEM, EPERM if the kernel is
 * locked down by now; then none has been enabled
 */
#define PROBE_IOC_ENABLE _IO(PROBE_IOC_MAGIC, 0)
#define PROBE_IOC_DISABLE _IO(PROBE_IOC_MAGIC, 1) /* same; the statistics stay. ENOMEM */
#define PROBE_IOC_RESET _IO(PROBE_IOC_MAGIC, 2) /* same; statistics to zero. ENOMEM */
/*
 * Argument: a process' ID; its threads and all that they start. ESRCH if it has ended, EINVAL
 * without a filter
 */
#define PROBE_IOC_FOLLOW _IO(PROBE_IOC_MAGIC, 3)
/*
 * Argument 1: children of the calling thread are followed from their first execve on, also if that
 * fails; 0: those it starts from now on are not. EINVAL without a filter. A 32-bit process can't
 * launch: its children's execve is another system call
 */
#define PROBE_IOC_LAUNCH _IO(PROBE_IOC_MAGIC, 4)
/* Argument: address of what is to be told. EFAULT */
#define PROBE_IOC_INFO _IOR(PROBE_IOC_MAGIC, 5, struct probe_info)

#define PROBE_GROUP 1

/* The page that user space writes. */
struct probe_page {
	__u32 context; /* what rows and events carry from now on */
	__u32 pad;
	__u64 tail; /* bytes of the ring that were read, ever growing */
};

/* Before the events. The kernel writes it. */
struct probe_ring {
	__u64 head; /* bytes written, ever growing */
	__u64 size; /* bytes of the events' area, which begins one page behind this struct */
	__u64 dropped; /* events of the group */
};

/*
 * A record's size is set last: while it is 0 the record is being written. Records are multiples
 * of 8 bytes; one that would cross the area's end lies behind a record of kind PROBE_EVENT_PAD.
 */
enum probe_event_kind {
	PROBE_EVENT_PAD,
	PROBE_EVENT_ENTRY,
	PROBE_EVENT_RETURN,
	PROBE_EVENT_LATENCY,
};

struct probe_event {
	__u32 size; /* of the record with this */
	__u16 kind;
	__u16 frames; /* addresses of the call chain */
	__u64 time; /* ns, CLOCK_MONOTONIC */
	__u64 cookie;
	__u64 latency; /* ns */
	__u64 retval;
	__u32 context;
	__u32 cpu;
	__u32 pid;
	__u32 tid;
	__u32 failed; /* a bit a value that could not be read */
	__u16 values; /* numbers */
	__u16 strings;
	__u16 regs; /* 0 or PROBE_REGS */
	__u16 stack_words;
	__u32 pad;
	char comm[16];
	/*
	 * __u64 value[values], char string[strings][PROBE_STRING_SIZE], __u64 reg[regs],
	 * stack[stack_words], frame[frames]
	 */
};

#endif
