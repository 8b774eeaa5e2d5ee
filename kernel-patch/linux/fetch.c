// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Reads what a hit's recipe asks for. All of it runs in a trap: a read that would have to wait
 * for memory fails.
 */
#include <linux/cred.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

#include "opened.h"

/* An address of the process is none of the kernel, whatever page tables say. */
static bool fetch_kernel(u64 address)
{
	return (s64)address < 0;
}

static bool fetch_read(void *to, u64 address, u32 size, bool user)
{
	if (user)
		return current->mm &&
		       !copy_from_user_nofault(to, (const void __user *)address, size);
	return fetch_kernel(address) && !copy_from_kernel_nofault(to, (const void *)address, size);
}

static bool fetch_string(char *to, u64 address, bool user)
{
	long n = -EFAULT;

	if (user && current->mm)
		n = strncpy_from_user_nofault(to, (const void __user *)address, PROBE_STRING_SIZE);
	else if (!user && fetch_kernel(address))
		n = strncpy_from_kernel_nofault(to, (const void *)address, PROBE_STRING_SIZE);
	if (n < 0)
		to[0] = 0;
	return n >= 0;
}

static u64 fetch_base(const struct probe_fetch *f, const struct trapframe *tf, u64 ns, u32 context)
{
	switch (f->base) {
	case PROBE_BASE_REG:
		return f->index ? tf_reg(tf, f->index) : tf_pc(tf);
	case PROBE_BASE_RETVAL:
		return tf_ret(tf);
	case PROBE_BASE_IMMEDIATE:
		return f->value;
	case PROBE_BASE_PID:
		return current->tgid;
	case PROBE_BASE_TID:
		return current->pid;
	case PROBE_BASE_UID:
		return __kuid_val(current_uid());
	case PROBE_BASE_CPU:
		return os_hart();
	case PROBE_BASE_LATENCY:
		return ns;
	case PROBE_BASE_CONTEXT:
		return context;
	}
	return 0;
}

/* Follows the memory reads. That of a string's bytes is left to the caller. */
static bool fetch_follow(const struct probe_fetch *f, bool string, u64 *value)
{
	u64 v = *value;
	u32 d;

	for (d = 0; d < f->derefs; d++) {
		u64 address = v + f->offset[d];
		bool last = d + 1 == f->derefs;
		u64 got = 0;

		if (last && string) {
			v = address;
			break;
		}
		if (!fetch_read(&got, address, last ? f->size : 8, f->user >> d & 1))
			return false;
		v = got;
	}
	*value = v;
	return true;
}

static u64 fetch_cut(const struct probe_fetch *f, u64 v)
{
	u32 unused = 64 - f->size * 8;

	v <<= unused;
	if (f->format == PROBE_FORMAT_SIGNED)
		return (s64)v >> unused;
	return v >> unused;
}

static void fetch_value(const struct probe_fetch *f, u32 i, struct probe_values *values, u64 v)
{
	bool string = f->format == PROBE_FORMAT_STRING || f->format == PROBE_FORMAT_USER_STRING;
	bool ok;

	ok = fetch_follow(f, string, &v);
	if (!ok)
		v = 0;
	if (string) {
		char *to = values->string[f->string];

		if (f->base == PROBE_BASE_COMM) {
			memcpy(to, current->comm, TASK_COMM_LEN);
			to[TASK_COMM_LEN - 1] = 0;
		} else if (ok) {
			ok = fetch_string(to, v, f->format == PROBE_FORMAT_USER_STRING);
		} else {
			to[0] = 0;
		}
	} else {
		v = fetch_cut(f, v);
	}
	values->number[i] = v;
	if (!ok)
		values->failed |= 1u << i;
}

/* Reads the values of one phase: those of the entry, or those of the return. */
void fetch_values(const struct probe_recipe *recipe, struct probe_values *values,
		  const struct trapframe *tf, bool at_return, u64 ns, u32 context)
{
	u32 i;

	for (i = 0; i < recipe->fetches; i++) {
		const struct probe_fetch *f = &recipe->fetch[i];

		if (f->at_return == at_return)
			fetch_value(f, i, values, fetch_base(f, tf, ns, context));
	}
}
