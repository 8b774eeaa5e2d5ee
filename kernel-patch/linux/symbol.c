// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Which address a probe_attr means.
 */
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/sections.h>

#include "opened.h"

struct symbol_search {
	unsigned long wanted; /* 0: any */
	unsigned long first;
	unsigned int found;
};

static bool symbol_is_text(unsigned long address)
{
	return (address >= (unsigned long)_stext && address < (unsigned long)_etext) ||
	       (address >= (unsigned long)_sinittext && address < (unsigned long)_einittext);
}

static int symbol_match(void *data, unsigned long address)
{
	struct symbol_search *search = data;

	if (!symbol_is_text(address))
		return 0;
	if (search->wanted && search->wanted != address)
		return 0;
	if (search->found && address == search->first)
		return 0; /* an alias of itself */
	search->first = address;
	search->found++;
	return 0;
}

static int symbol_by_name(const struct probe_attr *attr, unsigned long *address,
			  struct probe_refusal *why)
{
	struct symbol_search search = { .wanted = attr->address };
	char *name;

	name = strndup_user(u64_to_user_ptr(attr->symbol), PROBE_SYMBOL_MAX);
	if (IS_ERR(name))
		return PTR_ERR(name);
	kallsyms_on_each_match_symbol(symbol_match, name, &search);
	kfree(name);
	if (!search.found) {
		why->reason = PROBE_REASON_NOT_TEXT;
		return -ENOENT;
	}
	if (search.found > 1)
		return -EADDRNOTAVAIL;
	*address = search.first;
	return 0;
}

int symbol_find(const struct probe_attr *attr, struct opened *o, struct probe_refusal *why)
{
	unsigned long address = attr->address;
	int err;

	if (attr->symbol) {
		err = symbol_by_name(attr, &address, why);
		if (err)
			return err;
	}
	why->address = address;
	if (!symbol_is_text(address) || !os_function(address, &o->function, &o->function_size)) {
		why->reason = PROBE_REASON_NOT_TEXT;
		return -ENOENT;
	}
	if (attr->offset >= o->function_size ||
	    address - o->function + attr->offset >= o->function_size)
		return -ERANGE;
	o->probe.address = address + attr->offset;
	/* A call is entered at its begin only. */
	if (attr->kind != PROBE_ENTRY && o->probe.address != o->function)
		return -EINVAL;
	/* Before the engine reads any text: that of boot is gone. */
	return os_may_probe(o->probe.address, o->probe.address + 2, why);
}
