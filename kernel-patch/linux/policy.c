// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What must never be probed. What an instruction itself forbids is the engine's to say.
 */
#include <linux/extable.h>
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <asm/sections.h>

#include "pool.h"
#include "probe.h"
#include "version.h"

/*
 * Functions by name, without what the compiler adds to it (".isra.0"). A name that ends in * is a
 * prefix.
 */
struct policy_name {
	const char *name;
	u8 reason;
};

static const struct policy_name policy_names[] = {
	/* Entry code that is no section of its own in 6.1. */
	{ "handle_exception", PROBE_REASON_ENTRY_TEXT },
	{ "_restore_kernel_tpsp", PROBE_REASON_ENTRY_TEXT },
	{ "_save_context", PROBE_REASON_ENTRY_TEXT },
	{ "skip_context_tracking", PROBE_REASON_ENTRY_TEXT },
	{ "handle_syscall", PROBE_REASON_ENTRY_TEXT },
	{ "check_syscall_nr", PROBE_REASON_ENTRY_TEXT },
	{ "ret_from_*", PROBE_REASON_ENTRY_TEXT },
	{ "resume_userspace*", PROBE_REASON_ENTRY_TEXT },
	{ "resume_kernel", PROBE_REASON_ENTRY_TEXT },
	{ "restore_all", PROBE_REASON_ENTRY_TEXT },
	{ "work_pending", PROBE_REASON_ENTRY_TEXT },
	{ "work_resched", PROBE_REASON_ENTRY_TEXT },
	{ "handle_syscall_trace_*", PROBE_REASON_ENTRY_TEXT },
	{ "handle_kernel_stack_overflow", PROBE_REASON_ENTRY_TEXT },
	{ "restore_caller_reg", PROBE_REASON_ENTRY_TEXT },
	{ "__switch_to", PROBE_REASON_ENTRY_TEXT },
	/*
	 * What entry code calls before, or behind, the breakpoint trap: a trap there comes back
	 * to itself.
	 */
	{ "do_trap_*", PROBE_REASON_ENTRY_TEXT },
	{ "do_page_fault", PROBE_REASON_ENTRY_TEXT },
	{ "handle_break", PROBE_REASON_ENTRY_TEXT },
	{ "handle_bad_stack", PROBE_REASON_ENTRY_TEXT },
	{ "get_overflow_stack", PROBE_REASON_ENTRY_TEXT },
	{ "riscv_v_context_nesting_*", PROBE_REASON_ENTRY_TEXT },
	{ "__trace_hardirqs_*", PROBE_REASON_ENTRY_TEXT },
	{ "trace_hardirqs_*", PROBE_REASON_ENTRY_TEXT },
	{ "tracer_hardirqs_*", PROBE_REASON_ENTRY_TEXT },
	{ "user_exit_callable", PROBE_REASON_ENTRY_TEXT },
	{ "user_enter_callable", PROBE_REASON_ENTRY_TEXT },
	/* Runs while traps go elsewhere. */
	{ "__kvm_riscv_*", PROBE_REASON_ENTRY_TEXT },
	{ "__kvm_switch_return", PROBE_REASON_ENTRY_TEXT },
	/* Saves registers for a later return of the same call, or of another hart. */
	{ "__cpu_suspend_enter", PROBE_REASON_NO_RETURN },
	{ "__cpu_resume_enter", PROBE_REASON_NO_RETURN },
	{ "hibernate_*", PROBE_REASON_NO_RETURN },
	{ "__hibernate_cpu_resume", PROBE_REASON_NO_RETURN },
	/* What a hit calls before it counts as one: the clock of os_task_ns. */
	{ "sched_clock", PROBE_REASON_ENGINE },
	{ "riscv_sched_clock", PROBE_REASON_ENGINE },
	{ "preempt_schedule_notrace", PROBE_REASON_ENGINE },
	/* text.c, and what its harts wait in (kernel/stop_machine.c). */
	{ "__set_fixmap", PROBE_REASON_PATCHING },
	{ "multi_cpu_stop", PROBE_REASON_PATCHING },
	{ "ack_state", PROBE_REASON_PATCHING },
	{ "set_state", PROBE_REASON_PATCHING },
	{ "stop_machine_yield", PROBE_REASON_PATCHING },
	{ "rcu_momentary_*", PROBE_REASON_PATCHING },
	{ "touch_nmi_watchdog", PROBE_REASON_PATCHING },
	{ "__page_table_check_*", PROBE_REASON_PATCHING },
};

static bool policy_matches(const char *pattern, const char *name)
{
	for (; *pattern; pattern++, name++) {
		if (*pattern == '*')
			return true;
		if (*pattern != *name)
			return false;
	}
	return !*name || *name == '.';
}

static u32 policy_by_name(unsigned long address)
{
	char name[KSYM_SYMBOL_LEN];
	size_t i;

	/* "name+0x10/0x20": the plus ends it like a dot. */
	sprint_symbol(name, address);
	name[strcspn(name, "+")] = 0;
	for (i = 0; i < ARRAY_SIZE(policy_names); i++) {
		if (policy_matches(policy_names[i].name, name))
			return policy_names[i].reason;
	}
	return PROBE_REASON_NONE;
}

struct policy_range {
	const char *begin;
	const char *end;
	u32 reason;
};

static u32 policy_by_range(unsigned long start, unsigned long end)
{
	const struct policy_range ranges[] = {
		{ __entry_text_start, __entry_text_end, PROBE_REASON_ENTRY_TEXT },
		{ __irqentry_text_start, __irqentry_text_end, PROBE_REASON_ENTRY_TEXT },
		{ __noinstr_text_start, __noinstr_text_end, PROBE_REASON_NOINSTR },
#if CPUIDLE_TEXT_SECTION
		{ __cpuidle_text_start, __cpuidle_text_end, PROBE_REASON_NOINSTR },
#endif
		{ __kprobes_text_start, __kprobes_text_end, PROBE_REASON_KPROBES_TEXT },
		{ probe_text_begin, probe_text_end, PROBE_REASON_ENGINE },
		{ probe_pool_mm, probe_pool_mm + POOL_BYTES, PROBE_REASON_ENGINE },
		{ probe_pool_drivers, probe_pool_drivers + POOL_BYTES, PROBE_REASON_ENGINE },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		if (start < (unsigned long)ranges[i].end && end > (unsigned long)ranges[i].begin)
			return ranges[i].reason;
	}
	return PROBE_REASON_NONE;
}

/* What the kernel knows of single instructions. */
static u32 policy_by_table(unsigned long start, unsigned long end)
{
	unsigned long at;

	if (jump_label_text_reserved((void *)start, (void *)(end - 1)))
		return PROBE_REASON_JUMP_LABEL;
	if (ftrace_text_reserved((void *)start, (void *)(end - 1)))
		return PROBE_REASON_JUMP_LABEL;
	for (at = start; at < end; at += 2) {
		if (search_exception_tables(at))
			return PROBE_REASON_EXTABLE;
#ifdef CONFIG_KPROBES
		if (within_kprobe_blacklist(at))
			return PROBE_REASON_KPROBES_TEXT;
#endif
	}
	return PROBE_REASON_NONE;
}

/* Whether the compiler has put a part of the function elsewhere. */
static bool policy_cold(unsigned long function)
{
	char name[KSYM_SYMBOL_LEN + sizeof(".cold")];

	memcpy(name + sprint_symbol_no_offset(name, function), ".cold", sizeof(".cold"));
	return kallsyms_lookup_name(name);
}

/*
 * Whether the kernel may come out behind the first byte by a way that no instruction of the
 * function shows: from a fault, by a jump label, or from where its unlikely part is.
 */
static u32 policy_by_target(unsigned long start, unsigned long end)
{
	const struct exception_table_entry *e;
	unsigned long target;

	/* Only at its begin, which is then its name, are two instructions displaced. */
	if (end - start > 2 && (*(u16 *)start & 3) != 3 && policy_cold(start))
		return PROBE_REASON_JUMP_LABEL;

	for (e = __start___ex_table; e < __stop___ex_table; e++) {
		target = (unsigned long)&e->fixup + e->fixup;
		if (target > start && target < end)
			return PROBE_REASON_EXTABLE;
	}
#ifdef CONFIG_JUMP_LABEL
	{
		struct jump_entry *j;

		for (j = __start___jump_table; j < __stop___jump_table; j++) {
			target = jump_entry_target(j);
			if (target > start && target < end)
				return PROBE_REASON_JUMP_LABEL;
		}
	}
#endif
	return PROBE_REASON_NONE;
}

static bool policy_kprobe(unsigned long start, unsigned long end)
{
#ifdef CONFIG_KPROBES
	bool found = false;

	/* One 2 bytes before may have 4. */
	preempt_disable();
	for (start -= 2; start < end && !found; start += 2)
		found = get_kprobe((void *)start);
	preempt_enable();
	return found;
#else
	return false;
#endif
}

/* Called once a function that a call enters has been looked up; see osutils.h. */
int os_may_probe(unsigned long start, unsigned long end, struct probe_refusal *why)
{
	why->address = start;
	if (start >= (unsigned long)_sinittext && start < (unsigned long)_einittext) {
		why->reason = PROBE_REASON_INIT_TEXT;
		return -EACCES;
	}
	if (start < (unsigned long)_stext || end > (unsigned long)_etext || end <= start) {
		why->reason = PROBE_REASON_NOT_TEXT;
		return -ENOENT;
	}
	why->reason = policy_by_range(start, end);
	if (!why->reason)
		why->reason = policy_by_table(start, end);
	if (!why->reason)
		why->reason = policy_by_target(start, end);
	if (!why->reason)
		why->reason = policy_by_name(start);
	if (why->reason)
		return -EACCES;
	if (policy_kprobe(start, end)) {
		why->reason = PROBE_REASON_KPROBE;
		return -EBUSY;
	}
	return 0;
}
