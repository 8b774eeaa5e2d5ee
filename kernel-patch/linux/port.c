// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the engine needs of Linux: memory, pools, functions, the lock, the clock, and the trap.
 * Text is written by text.c; what must not be probed is in policy.c.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kallsyms.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <asm/asm-prototypes.h>
#include <asm/trapline.h>

#include "pool.h"
#include "probe.h"
#include "version.h"

u32 port_multiplier __ro_after_init;
u32 port_shift __ro_after_init;

static DEFINE_MUTEX(engine_lock);

void *os_alloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL_ACCOUNT);
}

void os_free(void *memory)
{
	kvfree(memory);
}

void *os_pool(unsigned int i, size_t *size, void **slots)
{
	if (i >= ARRAY_SIZE(probe_pools))
		return NULL;
	*size = POOL_BYTES;
	*slots = probe_pools[i] + PROBE_TRAMPOLINE_SIZE;
	return probe_pools[i];
}

bool os_preemptible(void)
{
	return IS_ENABLED(CONFIG_PREEMPTION);
}

void os_wait_for_tasks(void)
{
	if (os_preemptible())
		synchronize_rcu_tasks();
}

void os_lock(void)
{
	mutex_lock(&engine_lock);
}

void os_unlock(void)
{
	mutex_unlock(&engine_lock);
}

bool os_function(unsigned long address, unsigned long *start, size_t *size)
{
	unsigned long bytes, offset;

	if (!kallsyms_lookup_size_offset(address, &bytes, &offset))
		return false;
	*start = address - offset;
	*size = bytes;
	return true;
}

/*
 * Takes the place of do_trap_break in the exception table. Nothing that can be probed runs before
 * the engine has marked this hart as busy. A process' own breakpoints pass by.
 */
asmlinkage void noinstr trapline_trap_break(struct pt_regs *regs)
{
	unsigned long interrupts = 0;
	bool ours;

	if (user_mode(regs)) {
		do_trap_break(regs);
		return;
	}
	if (BREAK_WITH_INTERRUPTS)
		interrupts = csr_read_clear(CSR_STATUS, SR_IE) & SR_IE;
	ours = probe_breakpoint((struct trapframe *)regs);
	if (BREAK_WITH_INTERRUPTS)
		csr_set(CSR_STATUS, interrupts);
	if (!ours)
		do_trap_break(regs);
}

static int __init port_init(void)
{
	unsigned int shift = 32;
	u64 multiplier;

	/* The largest shift for which the multiplier has 32 bits. */
	do {
		shift--;
		multiplier = div_u64((u64)NSEC_PER_SEC << shift, riscv_timebase);
	} while (multiplier > U32_MAX);
	port_multiplier = multiplier;
	port_shift = shift;
	return probe_init();
}
late_initcall(port_init);
