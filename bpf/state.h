/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Constants of a session, its maps, and the few kernel types that the programs read.
 */
#ifndef TRAPLINE_STATE_H
#define TRAPLINE_STATE_H

/* Map types and flags of linux/bpf.h, which would define the integer types a second time. */
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_RINGBUF 27
#define BPF_MAP_TYPE_TASK_STORAGE 29
#define BPF_F_NO_PREALLOC 1
#define BPF_F_MMAPABLE 1024
#define BPF_LOCAL_STORAGE_GET_F_CREATE 1
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_FORCE_WAKEUP 2
#define BPF_RB_AVAIL_DATA 0
#define BPF_F_USER_STACK 256

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define inline_always static __attribute__((always_inline))

/* The kernel's types, found by BTF: only the fields used. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct thread_info {
	__u32 status;
};

struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
#pragma clang attribute pop

struct bpf_pidns_info { /* as linux/bpf.h has it */
	__u32 pid;
	__u32 tgid;
};

/*
 * Set by the loader before a program is loaded. The verifier takes them for constants, and drops what a session does not use.
 */
const volatile __u32 probes = 1; /* probes of this session */
const volatile __u32 contexts = 1;
const volatile __u32 filtering = 0; /* only tasks marked TASK_TRACED */
const volatile __u32 timing_cpu = 0; /* time on CPU beside wall time */
const volatile __u32 pairing_used = 0; /* some probe pairs entry and return */
const volatile __u32 preemptible = 0; /* this program can be interrupted by itself: its sums are atomic */
const volatile __u32 recipes_used = 0; /* some probe has a recipe */
const volatile __u32 events_used = 0; /* some probe sends events */
const volatile __u32 kernel_readable = 0; /* bpf_probe_read_kernel is allowed */
const volatile __u32 return_key = 0; /* stack pointer at a return less the one at entry, bytes */
const volatile __u32 event_size = 0; /* bytes */
const volatile __u32 strings_offset = 0; /* of an event's parts, 0 if it has none */
const volatile __u32 words_offset = 0;
const volatile __u32 stack_offset = 0;
const volatile __u32 strings_used = 0; /* some probe reads strings */
const volatile __u32 globs_used = 0; /* and matches them */
const volatile __u64 pid_namespace[2]; /* the loader's PID namespace: device and number of its file, 0 in the initial one */
const volatile __u32 fork_calls[4]; /* numbers + 1 of the system calls that return in a child too */
const volatile __u32 exec_calls[2]; /* numbers + 1 of execve and execveat */
const volatile __u32 wakeup_bytes = 65536; /* the reader is woken when so much waits */
const volatile __u32 words_here = 0; /* of a tracepoint's program: words that its record has, */
const volatile __u32 half_here = 0; /* and whether half a word follows: the kernel refuses to read beyond the record */

struct control_page control SEC(".data.control");
__u32 scratch_used[1024] SEC(".data.scratch"); /* a CPU's bits: which of its places are taken */

/* An array cut into one part a CPU and not a map of per-CPU values: found without a call on every kernel, and read by user space
 * without a system call. Index: (cpu * probes + probe) * contexts + context. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct row);
} rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct recipe);
} recipes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct saved);
} saved_values SEC(".maps");

#define SCRATCHES 4 /* task, soft interrupt, interrupt, NMI */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* SCRATCHES a CPU */
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYSCALLS);
	__type(key, __u32);
	__type(value, struct syscall_probes);
} syscalls SEC(".maps");

#endif
