// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a descriptor of a probe does.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "opened.h"

/* Closed, but some task may stand in a slot. */
static LLIST_HEAD(released);

static void opened_free(struct opened *o)
{
	probe_release(&o->probe);
	kfree(o->recipe);
	kfree(o);
}

static void opened_free_released(struct work_struct *work)
{
	struct llist_node *list = llist_del_all(&released);
	struct opened *o, *next;

	if (!list)
		return;
	/* One wait for all of them. */
	os_wait_for_tasks();
	llist_for_each_entry_safe(o, next, list, released)
		opened_free(o);
}

static DECLARE_WORK(released_work, opened_free_released);

void opened_close(struct opened *o)
{
	struct probe_group *group = o->group;
	struct probe *p = &o->probe;

	mutex_lock(&group->lock);
	list_del(&o->of_group);
	if (p->armed)
		probe_disarm(&p, 1);
	mutex_unlock(&group->lock);
	unreserve_text(o);
	group_put(group);
	if (os_preemptible()) {
		if (llist_add(&o->released, &released))
			schedule_work(&released_work);
	} else {
		opened_free(o);
	}
}

void opened_flush(void)
{
	flush_work(&released_work);
}

/* Runs on one probe, or on all of its group at once. */
static long for_probes(struct opened *o, unsigned long arg, int (*f)(struct probe **list, size_t n))
{
	struct probe_group *group = o->group;
	struct probe *one = &o->probe;
	struct probe **list = &one;
	struct opened *other;
	size_t n = 0;
	long err;

	if (arg && arg != PROBE_GROUP)
		return -EINVAL;
	mutex_lock(&group->lock);
	if (!arg) {
		err = f(list, 1);
		goto unlock;
	}
	list_for_each_entry(other, &group->probes, of_group)
		n++;
	list = kvmalloc_array(n, sizeof(*list), GFP_KERNEL_ACCOUNT);
	if (!list) {
		err = -ENOMEM;
		goto unlock;
	}
	n = 0;
	list_for_each_entry(other, &group->probes, of_group)
		list[n++] = &other->probe;
	err = f(list, n);
	kvfree(list);
unlock:
	mutex_unlock(&group->lock);
	return err;
}

static int reset(struct probe **list, size_t n)
{
	while (n)
		probe_reset(list[--n]);
	return 0;
}

/* What the kernel was built with there. */
static u32 instruction(const struct probe *p)
{
	u16 half[2] = {};

	probe_original(p->address, half, 2);
	if ((half[0] & 3) == 3)
		probe_original(p->address + 2, half + 1, 2);
	return half[0] | (u32)half[1] << 16;
}

static long info(struct opened *o, struct probe_info __user *to)
{
	struct probe_info i = {
		.address = o->probe.address,
		.function = o->function,
		.function_size = o->function_size,
		.harts = nr_cpu_ids,
		.cookie = o->cookie,
	};
	unsigned long slot = 0;

	mutex_lock(&o->group->lock);
	i.enabled = o->probe.armed;
	i.method = probe_method(&o->probe, &slot);
	i.slot = slot;
	mutex_unlock(&o->group->lock);
	i.instruction = instruction(&o->probe);
	return copy_to_user(to, &i, sizeof(i)) ? -EFAULT : 0;
}

static long probe_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct opened *o = file->private_data;

	switch (command) {
	case PROBE_IOC_ENABLE:
		/* It may have been opened before that, or elsewhere. */
		if (security_locked_down(LOCKDOWN_KPROBES))
			return -EPERM;
		return for_probes(o, arg, probe_arm);
	case PROBE_IOC_DISABLE:
		return for_probes(o, arg, probe_disarm);
	case PROBE_IOC_RESET:
		return for_probes(o, arg, reset);
	case PROBE_IOC_FOLLOW:
		if (o->group->filter < 0 || arg > INT_MAX || !arg)
			return -EINVAL;
		return filter_follow(o->group, arg);
	case PROBE_IOC_LAUNCH:
		if (o->group->filter < 0 || arg > 1)
			return -EINVAL;
		return filter_launch(o->group, arg);
	case PROBE_IOC_INFO:
		return info(o, (struct probe_info __user *)arg);
	}
	return -ENOTTY;
}

static ssize_t probe_read(struct file *file, char __user *to, size_t size, loff_t *offset)
{
	struct opened *o = file->private_data;
	struct probe_stats stats;
	size_t done = 0;
	u32 context;

	for (context = 0; context < o->probe.contexts; context++) {
		if (!probe_sum(&o->probe, context, &stats))
			continue;
		if (size - done < sizeof(stats))
			return -ENOSPC;
		if (copy_to_user(to + done, &stats, sizeof(stats)))
			return -EFAULT;
		done += sizeof(stats);
	}
	return done;
}

static __poll_t probe_poll(struct file *file, poll_table *table)
{
	return group_poll(((struct opened *)file->private_data)->group, file, table);
}

static int probe_mmap(struct file *file, struct vm_area_struct *vma)
{
	return group_mmap(((struct opened *)file->private_data)->group, vma);
}

static int probe_close(struct inode *inode, struct file *file)
{
	opened_close(file->private_data);
	return 0;
}

const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.read = probe_read,
	.unlocked_ioctl = probe_ioctl,
	.poll = probe_poll,
	.mmap = probe_mmap,
	.release = probe_close,
};
