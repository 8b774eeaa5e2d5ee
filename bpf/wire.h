/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs and the loader exchange. bpf2go makes Go types of these structs.
 */
#ifndef TRAPLINE_WIRE_H
#define TRAPLINE_WIRE_H

typedef unsigned char __u8;
typedef signed short __s16;
typedef unsigned short __u16;
typedef signed int __s32;
typedef unsigned int __u32;
typedef signed long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

#define BUCKETS 48 /* probes.Buckets */
#define FETCHES 12
#define VALUES 8 /* fetches that an event shows; those behind them only serve the predicate */
#define DEREFS 4
#define TESTS 16
#define STRINGS 4 /* string values of a probe, and string constants of its predicate */
#define STRING_SIZE 128
#define CONSTANT_SIZE 64
#define DEPTH 32 /* probed calls that one task can be in */
#define SAVED 8 /* of these, how many keep their arguments for an event */
#define WORDS 36 /* the longest pt_regs */
#define FRAMES 64
#define RECORD_STRING 64 /* the longest string of fixed size in a record */
#define SYSCALLS 1024
#define CHAIN 4 /* probes of one system call */

/* What user space changes while programs run. On a page of its own, mapped by the loader. */
struct control_page {
	__u32 context; /* loader.SetContext */
	__u32 enabled; /* 0 until every probe is placed */
	__u32 mark_tgid; /* the task iterator marks this process */
	__u32 mark_flags; /* with these flags, */
	__u32 marked; /* and counts those that had not all of them */
	__u32 unmarked; /* and those that it could not mark: there was no memory */
	__u32 unfollowed; /* tasks that traced ones started, and that could not be marked */
	__u32 unlaunched; /* tasks that were to become a launched command, and could not be */
	__u32 pad[8];
};

/* What one CPU measured of one probe in one context. The count is the histogram's sum. */
struct row {
	__u64 started; /* calls that entered */
	__u64 total;
	__u64 inverse_min; /* ~min, so that 0 means none yet */
	__u64 max;
	__u64 cpu;
	__u64 errors;
	__u64 nested;
	__u64 missed;
	__u64 dropped;
	__u64 unpaired;
	__u64 lost; /* of the started: their returns never came */
	__u64 unread; /* hits whose predicate could not be decided: what it compares was not in memory */
	__u64 ended; /* calls that their task never came back from: it ended inside */
	__u64 hist[BUCKETS];
};

enum base {
	BASE_WORD, /* a word of the registers, or a parameter where there are no registers */
	BASE_RETVAL,
	BASE_IMMEDIATE,
	BASE_COMM,
	BASE_PID,
	BASE_TID,
	BASE_UID,
	BASE_CPU,
	BASE_LATENCY,
	BASE_CONTEXT,
	BASE_RECORD, /* the bytes from index on of the words: a string in a tracepoint's record */
	BASE_DATA_LOC, /* the address of a tracepoint's dynamic field, whose place is in a word */
};

enum format {
	FORMAT_UNSIGNED,
	FORMAT_SIGNED,
	FORMAT_STRING,
	FORMAT_USER_STRING,
};

struct fetch {
	__u64 value; /* of BASE_IMMEDIATE */
	__s32 offset[DEREFS];
	__u8 base;
	__u8 index; /* of BASE_WORD */
	__u8 derefs;
	__u8 user; /* a bit a deref */
	__u8 format;
	__u8 size;
	__u8 string; /* which of the event's strings */
	__u8 at_return;
	__u8 shift; /* bits by which a word is moved right first: a tracepoint's field lies inside of it */
	__u8 pad[7];
};

enum test_op {
	TEST_EQUAL,
	TEST_NOT_EQUAL,
	TEST_LESS,
	TEST_LESS_EQUAL,
	TEST_GREATER,
	TEST_GREATER_EQUAL,
	TEST_BITS,
	TEST_STRING,
	TEST_NOT_STRING,
	TEST_GLOB,
	TEST_AND,
	TEST_OR,
	TEST_NOT,
};

/* One step of a predicate in postfix order on a stack of bits. */
struct test {
	__u64 value; /* right side, unless right is a fetch */
	__u8 op;
	__u8 is_signed;
	__u8 left; /* fetch */
	__u8 right; /* fetch + 1; of strings: constant */
	__u8 pad[4];
};

/* What to read and decide at one probe. */
struct recipe {
	__u32 fetches;
	__u32 tests; /* at entry */
	__u32 return_tests; /* after them, at the return */
	__u32 strings;
	__u32 flags; /* RECIPE_… */
	__u32 pad;
	struct fetch fetch[FETCHES];
	struct test test[TESTS];
	char constant[STRINGS][CONSTANT_SIZE];
};

#define RECIPE_EVENT 1 /* send events */

/* What was read at one hit. */
struct values {
	__u64 number[FETCHES];
	char string[STRINGS][STRING_SIZE];
	__u32 failed; /* a bit a fetch: memory could not be read */
	__u32 pad;
};

/* A call that has not returned. */
struct frame {
	__u64 start; /* ns */
	__u64 key; /* what entry and return of one call have in common: the stack pointer */
	__u64 off_cpu; /* of the task, when the call began */
	__u32 probe;
	__u32 context;
	__u32 nested; /* hits of probes inside it so far */
	__u32 slot; /* which of the task's saved values are its own */
};

#define TASK_TRACED 1
#define TASK_LAUNCHER 2 /* its children become TASK_PENDING */
#define TASK_PENDING 4 /* traced from its next execve on */

struct task {
	__u32 flags;
	__u32 depth;
	__u32 syscall; /* number + 1 of the probed system call that it is in */
	__u32 over; /* calls that began when there was no frame left, and have not returned */
	__u64 off_cpu; /* ns, of all times so far */
	__u64 switched_out; /* when; 0 on a CPU */
	struct frame frame[DEPTH];
};

struct saved {
	struct values values[SAVED];
};

enum event_kind { EVENT_ENTRY, EVENT_RETURN, EVENT_LATENCY };

/* An event: this header, then the strings, the registers and the stack that the session asks for, at fixed offsets. */
struct event {
	__u64 time; /* ns since boot, without suspend */
	__u64 latency;
	__u64 retval;
	__u64 stack_top; /* the word there, where the architecture keeps the return address on the stack */
	__u32 probe;
	__u32 context;
	__u32 pid;
	__u32 tid;
	__u32 cpu;
	__u32 kind;
	__u32 failed; /* a bit a value */
	__s32 frames; /* bytes of the stack, or a negative error */
	char comm[16];
	__u64 number[VALUES];
};

/* A match of a glob. In memory, where the verifier does not follow each step's numbers. */
struct match {
	__u32 constant, string;
	__u32 p, t; /* where in pattern and text */
	__u32 star, mark; /* behind the last star, and the text that it has taken; star is 0 before one came */
	__u32 matched;
	__u32 pad;
};

/* A place to put an event together: a CPU's. */
struct scratch {
	struct values values;
	__u64 word[WORDS];
	__u64 record; /* address of a tracepoint's record */
	__u64 undecided; /* a comparison met a value that could not be read */
	__u64 stack_top;
	__u64 retval;
	__u64 latency;
	struct match match;
	struct {
		struct event event;
		__u8 rest[STRINGS * STRING_SIZE + WORDS * 8 + FRAMES * 8];
	} out;
};

struct syscall_probes {
	__u32 any;
	__u32 pad;
	__u32 entry[CHAIN]; /* probe + 1 */
	__u32 exit[CHAIN];
	__u32 latency[CHAIN];
};

#endif
