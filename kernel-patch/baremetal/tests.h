/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of tests share.
 */
#ifndef TRAPLINE_TESTS_H
#define TRAPLINE_TESTS_H

#include "kernel.h"
#include "probe.h"

/* Says where and what, once a test, and goes on. */
void failed(const char *file, int line, const char *what, s64 seen, s64 want);
#define CHECK(seen, want)                                                \
	do {                                                             \
		s64 seen_ = (s64)(seen), want_ = (s64)(want);            \
		if (seen_ != want_)                                      \
			failed(__FILE__, __LINE__, #seen, seen_, want_); \
	} while (0)

typedef u64 function(u64);

function t_short, t_long, t_mixed, t_auipc, t_branch, t_branch_taken, t_branch_short, t_jump,
	t_link, t_call_register, t_return, t_loop, t_table, t_reserved, t_csr, t_environment, t_break,
	t_nothing, t_keep, t_middle, t_tail, t_far, t_far_branch, t_far_push;
extern char t_reserved_load[], t_reserved_inside[], t_reserved_store[], t_reserved_behind[],
	t_middle_at[], called_with_registers[];
void call_with_registers(function *called, u64 *registers);
u64 call_on_stack(function *called, u64 argument, unsigned long sp);

/* One probe, armed; a failed check if it can't be. */
void place(struct probe *p, const void *address, u32 kind, u64 flags);
void place_ops(struct probe *p, const void *address, u32 kind, u64 flags,
	       const struct probe_ops *ops, bool changes);
void take_away(struct probe *p);
void prepare(struct probe *p, const void *address, u32 kind, u64 flags);
struct probe_stats sum_of(const struct probe *p);
u64 random_number(void);

struct test {
	const char *name;
	void (*run)(void);
};

extern const struct test place_tests[], register_tests[], hit_tests[], call_tests[], hart_tests[],
	syscall_tests[];

/* The tests that count instructions; only with one hart. */
void print_costs(void);

#endif
