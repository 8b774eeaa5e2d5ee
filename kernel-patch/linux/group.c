// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Groups: the shared page, the ring of events, and who waits for it.
 */
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "opened.h"
#include "version.h"

static void group_wake(struct irq_work *work)
{
	struct probe_group *group = container_of(work, struct probe_group, wake);

	wake_up_all(&group->wait);
}

struct probe_group *group_new(const struct probe_attr *attr)
{
	struct probe_group *group;
	int err = -ENOMEM;

	group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);
	if (!group)
		return ERR_PTR(-ENOMEM);
	kref_init(&group->refs);
	mutex_init(&group->lock);
	INIT_LIST_HEAD(&group->probes);
	init_waitqueue_head(&group->wait);
	init_irq_work(&group->wake, group_wake);
	group->wakeup = attr->wakeup ? attr->wakeup : 1;
	group->filter = -1;
	group->page = (struct probe_page *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!group->page)
		goto fail;
	if (attr->flags & PROBE_FLAG_FILTER) {
		err = filter_take(group);
		if (err)
			goto fail;
	}
	return group;
fail:
	free_page((unsigned long)group->page);
	kfree(group);
	return ERR_PTR(err);
}

static void group_free(struct kref *refs)
{
	struct probe_group *group = container_of(refs, struct probe_group, refs);

	filter_give_back(group);
	irq_work_sync(&group->wake);
	if (group->events) {
		vfree(group->events->ring);
		kfree(group->events);
	}
	free_page((unsigned long)group->page);
	kfree(group);
}

void group_put(struct probe_group *group)
{
	kref_put(&group->refs, group_free);
}

struct probe_group *group_of_descriptor(int fd)
{
	struct probe_group *group = ERR_PTR(-EBADF);
	struct file *file = fget(fd);

	if (!file)
		return group;
	if (file->f_op == &probe_fops) {
		group = ((struct opened *)file->private_data)->group;
		kref_get(&group->refs);
	}
	fput(file);
	return group;
}

/* Makes the ring, or finds that it has just this size. */
static int group_make_events(struct probe_group *group, unsigned long pages)
{
	struct probe_events *e = group->events;

	if (e)
		return e->size == (pages - 1) << PAGE_SHIFT ? 0 : -EBUSY;
	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	/* vmalloc_user, charged to the caller's memory control group. */
	e->ring = __vmalloc_node_range(pages << PAGE_SHIFT, SHMLBA, VMALLOC_START, VMALLOC_END,
				       GFP_KERNEL_ACCOUNT | __GFP_ZERO, PAGE_KERNEL, VM_USERMAP,
				       NUMA_NO_NODE, __builtin_return_address(0));
	if (!e->ring) {
		kfree(e);
		return -ENOMEM;
	}
	e->records = (void *)e->ring + PAGE_SIZE;
	e->size = (pages - 1) << PAGE_SHIFT;
	e->cleared = e->size;
	e->ring->size = e->size;
	/* Hits may look at any time. */
	smp_store_release(&group->events, e);
	return 0;
}

static int group_mmap_events(struct probe_group *group, struct vm_area_struct *vma)
{
	unsigned long pages = vma_pages(vma);
	int err;

	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	if (pages < 2 || !is_power_of_2(pages - 1) || pages - 1 > RING_PAGES_MAX)
		return -EINVAL;
	VMA_FLAGS_CLEAR(vma, VM_MAYWRITE);
	mutex_lock(&group->lock);
	err = group_make_events(group, pages);
	if (!err)
		err = remap_vmalloc_range(vma, group->events->ring, 0);
	mutex_unlock(&group->lock);
	return err;
}

int group_mmap(struct probe_group *group, struct vm_area_struct *vma)
{
	/* A private copy would never see what the other side writes. */
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_flags & VM_EXEC)
		return -EINVAL;
	VMA_FLAGS_SET(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	if (vma->vm_pgoff == 1)
		return group_mmap_events(group, vma);
	if (vma->vm_pgoff || vma_pages(vma) != 1)
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, virt_to_page(group->page));
}

__poll_t group_poll(struct probe_group *group, struct file *file, poll_table *table)
{
	__poll_t events = 0;

	poll_wait(file, &group->wait, table);
	WRITE_ONCE(group->waiting, 1);
	/* See event_send. */
	smp_mb();
	if (events_unread(group) >= group->wakeup)
		events |= EPOLLIN | EPOLLRDNORM;
	if (group->filter >= 0 && filter_left(group))
		events |= EPOLLHUP;
	return events;
}
