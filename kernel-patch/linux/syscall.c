// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The system call probe_open.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/syscalls.h>
#include <linux/uaccess.h>

#include "opened.h"

static int attr_read(struct probe_attr *attr, struct probe_attr __user *from, size_t size)
{
	BUILD_BUG_ON(sizeof(*attr) != PROBE_ATTR_SIZE_VER0);
	if (size < PROBE_ATTR_SIZE_VER0)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(attr, sizeof(*attr), from, size);
}

/* What is wrong with single fields. Those of recipes are checked there. */
static bool attr_valid(const struct probe_attr *attr, size_t size)
{
	u64 known = PROBE_FLAGS_ALL;

	if (attr->size != size || attr->kind < PROBE_ENTRY || attr->kind > PROBE_LATENCY)
		return false;
	if (attr->kind != PROBE_ENTRY)
		known &= ~PROBE_FLAG_VALUE;
	if (attr->kind == PROBE_ENTRY)
		known &= ~PROBE_FLAG_ERRORS;
	if (attr->kind != PROBE_LATENCY)
		known &= ~PROBE_FLAG_CPU_TIME;
	if (attr->flags & ~known)
		return false;
	if (attr->kind == PROBE_ENTRY && attr->active)
		return false;
	if (!(attr->flags & PROBE_FLAG_EVENTS) &&
	    (attr->flags & PROBE_FLAG_REGS || attr->frames || attr->stack_words))
		return false;
	return attr->contexts <= PROBE_CONTEXTS_MAX && attr->active <= 65536 &&
	       attr->frames <= PROBE_FRAMES_MAX && attr->stack_words <= PROBE_STACK_WORDS_MAX &&
	       attr->wakeup <= RING_PAGES_MAX << PAGE_SHIFT &&
	       !attr->reserved[0] && !attr->reserved[1];
}

static int attr_permitted(struct probe_refusal *why)
{
	if (!perfmon_capable())
		return -EPERM;
	if (security_locked_down(LOCKDOWN_KPROBES)) {
		why->reason = PROBE_REASON_LOCKDOWN;
		return -EPERM;
	}
	return 0;
}

static void opened_fill(struct opened *o, const struct probe_attr *attr)
{
	struct probe *p = &o->probe;

	o->flags = attr->flags;
	o->cookie = attr->cookie;
	p->kind = attr->kind;
	p->contexts = attr->contexts ? attr->contexts : 1;
	p->flags = attr->flags;
	p->active = attr->active ? attr->active : ACTIVE_DEFAULT;
	p->group = o->group->filter >= 0 ? BIT_ULL(o->group->filter) : 0;
	p->context = &o->group->page->context;
	p->value_reg = o->recipe ? recipe_register(o->recipe, o->flags) : 0;
	if (o->recipe && !p->value_reg) {
		p->ops = &event_ops;
		p->data_size = sizeof(struct probe_values) + o->recipe->strings * PROBE_STRING_SIZE;
	}
}

/* Slots of probes that were closed a moment ago may be free as soon as we wait for them. */
static int opened_prepare(struct opened *o, struct probe_refusal *why)
{
	int err;

	reserve_text(o);
	err = probe_prepare(&o->probe, why);
	if (err == -ENOSPC && os_preemptible()) {
		opened_flush();
		memset(why, 0, sizeof(*why));
		err = probe_prepare(&o->probe, why);
	}
	if (err)
		unreserve_text(o);
	return err;
}

static struct opened *opened_new(const struct probe_attr *attr, struct probe_refusal *why)
{
	struct opened *o;
	int err;

	if (attr->frames && !IS_ENABLED(CONFIG_FRAME_POINTER)) {
		why->reason = PROBE_REASON_STACK;
		return ERR_PTR(-EOPNOTSUPP);
	}
	o = kzalloc(sizeof(*o), GFP_KERNEL_ACCOUNT);
	if (!o)
		return ERR_PTR(-ENOMEM);
	err = symbol_find(attr, o, why);
	if (!err)
		err = recipe_new(attr, &o->recipe);
	if (err)
		goto fail;
	if (attr->group_fd == -1)
		o->group = group_new(attr);
	else
		o->group = group_of_descriptor(attr->group_fd);
	if (IS_ERR(o->group)) {
		err = PTR_ERR(o->group);
		goto fail;
	}
	opened_fill(o, attr);
	err = opened_prepare(o, why);
	if (err) {
		group_put(o->group);
		goto fail;
	}
	mutex_lock(&o->group->lock);
	list_add_tail(&o->of_group, &o->group->probes);
	mutex_unlock(&o->group->lock);
	return o;
fail:
	kfree(o->recipe);
	kfree(o);
	return ERR_PTR(err);
}

static int opened_install(struct opened *o)
{
	struct file *file;
	int fd = get_unused_fd_flags(O_CLOEXEC);

	if (fd < 0)
		return fd;
	file = anon_inode_getfile("[probe]", &probe_fops, o, O_RDWR | O_CLOEXEC);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}

static int probe_open(const struct probe_attr *attr, size_t size, struct probe_refusal *why)
{
	struct opened *o;
	int fd;

	fd = attr_permitted(why);
	if (fd)
		return fd;
	if (!attr_valid(attr, size))
		return -EINVAL;
	o = opened_new(attr, why);
	if (IS_ERR(o))
		return PTR_ERR(o);
	fd = opened_install(o);
	if (fd < 0)
		opened_close(o);
	return fd;
}

SYSCALL_DEFINE3(probe_open, struct probe_attr __user *, uattr, size_t, size, unsigned int, flags)
{
	struct probe_refusal why = {};
	struct probe_attr attr;
	long err;

	if (flags)
		return -EINVAL;
	err = attr_read(&attr, uattr, size);
	if (err)
		return err;
	err = probe_open(&attr, size, &why);
	if (err >= 0)
		return err;
	if (!why.reason)
		why.address = 0;
	/* Where it can't be written the error says enough. */
	(void)put_user(why.reason, &uattr->reason);
	(void)put_user(why.address, &uattr->reason_address);
	return err;
}
