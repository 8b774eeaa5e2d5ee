// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hits. Interrupts are off, so that a hit stays on its hart and its rows are its own. probe_hit
 * and probe_returned are the two that speed depends on: with a plain probe they call nothing.
 */
#include "calls.h"
#include "rows.h"

struct probe_hart *probe_harts;

static inline bool followed(const struct probe *p, const struct probe_task *task)
{
	return likely(!p->group) || (task && task->groups & p->group);
}

/* Puts probe_return in place of the return address. */
static inline void begin_call(struct probe *p, struct trapframe *tf, struct probe_task *task,
			      struct probe_call *call, u64 row)
{
	call->ra = tf_ra(tf);
	call->sp = tf_sp(tf);
	call->row = row;
	call->next = task->calls;
	call->hits = ++task->hits;
	task->calls = call;
	tf_set_ra(tf, p->landing);
	/* Last, and first at the return: what is measured is the function. */
	call->start = os_ticks();
}

/* A hit of an entry that nobody has to be asked about. */
static inline void count_entry(struct probe *p, struct probe_row *row, const struct trapframe *tf)
{
	if (p->value_reg)
		row_measure(row, ((const u64 *)tf)[PORT_TF_X(p->value_reg)]);
	else
		row->count++;
}

/* A hit of a probe that is not plain, or of one of several. */
static void hit_one(struct probe *p, struct trapframe *tf, struct probe_task *task,
		    unsigned long hart)
{
	u64 at = row_now(p);
	struct probe_row *row = row_at(p, hart, at);
	struct probe_call *call = 0;
	void *data;
	u64 value = 0;

	if (p->kind == PROBE_ENTRY) {
		data = (char *)p->scratch + (size_t)hart * p->data_size;
	} else {
		call = task ? call_take(p->calls) : 0;
		if (!call) {
			row->missed++;
			return;
		}
		data = call + 1;
	}
	if (p->ops && p->ops->entry && !p->ops->entry(p, row, tf, data, &value)) {
		if (call)
			call_give_back(call);
		return;
	}
	if (call) {
		row->started++;
		if (p->flags & PROBE_FLAG_CPU_TIME)
			call->cpu = os_task_ns();
		begin_call(p, tf, task, call, at);
		return;
	}
	if (task)
		task->hits++;
	if (p->ops && p->flags & PROBE_FLAG_VALUE)
		row_measure(row, value);
	else
		count_entry(p, row, tf);
}

/* Every hit that probe_hit does not do by itself. */
static noinline void hit_all(struct trapframe *tf, struct probe_point *point, unsigned long hart)
{
	struct probe_task *task = os_task();
	struct probe_hart *self = &probe_harts[hart];
	bool miss = self->busy || !os_stack_left(tf_sp(tf));
	struct probe *p = __atomic_load_n(&point->probes, __ATOMIC_ACQUIRE);

	/* A jump's frame has none yet, as the short way needs none. */
	tf_set_pc(tf, point->address);
	self->busy++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	for (; p; p = __atomic_load_n(&p->next, __ATOMIC_ACQUIRE)) {
		if (!followed(p, task))
			continue;
		if (miss)
			row_at(p, hart, row_now(p))->missed++;
		else
			hit_one(p, tf, task, hart);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self->busy--;
}

void probe_hit(struct trapframe *tf, struct probe_point *point)
{
	struct probe *p = __atomic_load_n(&point->simple, __ATOMIC_RELAXED);
	unsigned long hart = os_hart();
	struct probe_task *task;
	struct probe_call *call;
	struct probe_row *row;
	u64 at;

	if (unlikely(!p || probe_harts[hart].busy || !os_stack_left(tf_sp(tf)))) {
		hit_all(tf, point, hart);
		return;
	}
	task = os_task();
	if (!followed(p, task))
		return;
	at = row_now(p);
	row = row_at(p, hart, at);
	if (p->kind == PROBE_ENTRY) {
		count_entry(p, row, tf);
		if (likely(task))
			task->hits++;
		return;
	}
	if (unlikely(!task)) {
		row->missed++;
		return;
	}
	call = call_take(p->calls);
	if (unlikely(!call)) {
		row->missed++;
		return;
	}
	row->started++;
	begin_call(p, tf, task, call, at);
}

static inline void exit_call(struct probe *p, struct probe_row *row, struct trapframe *tf,
			     struct probe_task *task, struct probe_call *call, u64 ns)
{
	u64 retval = tf_ret(tf);

	row->nested += task->hits - call->hits;
	if (p->flags & PROBE_FLAG_ERRORS && retval >= -4095ull)
		row->errors++;
	if (likely(p->kind == PROBE_LATENCY))
		row_measure(row, ns);
	else
		row->count++;
}

static bool is_landing(unsigned long ra)
{
	return ra == (unsigned long)probe_return || ra == (unsigned long)probe_return_whole;
}

/* Where a call goes back to in the end: before it others may have been noted at the same place. */
static unsigned long way_back(const struct probe_call *call)
{
	unsigned long ra = 0;

	do {
		ra = call->ra;
		call = call->next;
	} while (call && is_landing(ra));
	return ra;
}

/* The return of a call whose probe is not plain. */
static void exit_one(struct probe *p, struct trapframe *tf, struct probe_task *task,
		     struct probe_call *call, u64 ticks)
{
	struct probe_row *row = row_at(p, os_hart(), call->row);
	u64 ns = os_ticks_to_ns(ticks - call->start);

	if (p->ops && p->ops->exit && !p->ops->exit(p, row, tf, call + 1, ns)) {
		/* Else it would seem to be under way for ever; a reset meanwhile has done that. */
		row->started -= row->started != 0;
		return;
	}
	if (p->flags & PROBE_FLAG_CPU_TIME) {
		u64 cpu = os_task_ns() - call->cpu;

		/* It is read outside of what ns measures. */
		row->cpu += cpu < ns ? cpu : ns;
	}
	exit_call(p, row, tf, task, call, ns);
}

/* Every return that probe_returned does not do by itself. */
static noinline void returned(struct trapframe *tf, u64 ticks)
{
	struct probe_hart *self = &probe_harts[os_hart()];
	struct probe_task *task = os_task();
	struct probe_call *call = calls_find(task, tf_sp(tf));
	struct probe *p;

	/* Nobody knows the way back: the fault at 0 tells where it was lost. */
	tf_set_pc(tf, call ? way_back(call) : 0);
	tf_set_ra(tf, call ? call->ra : 0);
	if (!call)
		return;
	task->calls = call->next;
	p = __atomic_load_n(&call->room->probe, __ATOMIC_RELAXED);
	self->busy++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (p)
		exit_one(p, tf, task, call, ticks);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self->busy--;
	call_give_back(call);
}

void probe_returned(struct trapframe *tf)
{
	u64 ticks = os_ticks();
	struct probe_task *task = os_task();
	struct probe_call *call = task->calls;
	struct probe *p;

	if (unlikely(!call || call->sp != tf_sp(tf))) {
		returned(tf, ticks);
		return;
	}
	p = __atomic_load_n(&call->room->probe, __ATOMIC_RELAXED);
	if (unlikely(!p || !p->plain)) {
		returned(tf, ticks);
		return;
	}
	/* A plain probe asks for no pc. */
	tf_set_ra(tf, call->ra);
	task->calls = call->next;
	exit_call(p, row_at(p, os_hart(), call->row), tf, task, call,
		  os_ticks_to_ns(ticks - call->start));
	call_give_back(call);
}

bool probe_breakpoint(struct trapframe *tf)
{
	unsigned long pc = tf_pc(tf);
	struct probe_point *point = point_live(pc);
	u32 text;

	if (unlikely(!point)) {
		/*
		 * Either somebody else's, or it was removed meanwhile, or this hart still has
		 * the old text in its instruction cache: then it tries again.
		 */
		text = insn_fetch((const void *)pc);
		if (text == INSN_EBREAK || (text & 0xffff) == INSN_C_EBREAK)
			return false;
		asm volatile("fence.i" : : : "memory");
		return true;
	}
	probe_hit(tf, point);
	if (unlikely(tf_pc(tf) != pc))
		return true;
	if (likely(point->resume))
		tf_set_pc(tf, point->resume);
	else
		insn_simulate(&point->insn[0], tf);
	return true;
}
