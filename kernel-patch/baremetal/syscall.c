// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A small version of the system call: entry, return and latency probes by symbol or address, their
 * statistics, no events and no filter. This kernel has no processes; one that has calls these
 * from its table of system calls, and sys_probe_close for each descriptor of a process that ends.
 */
#include "kernel.h"
#include "probe.h"

#define DESCRIPTORS 16

static struct probe *opened[DESCRIPTORS];

/* Memory of the caller: here is where a kernel checks that it is the caller's. */
static bool copy_in(void *to, u64 from, size_t n)
{
	if (!from)
		return false;
	memcpy(to, (const void *)from, n);
	return true;
}

static bool copy_out(u64 to, const void *from, size_t n)
{
	if (!to)
		return false;
	memcpy((void *)to, from, n);
	return true;
}

/* The attribute as this kernel knows it, whatever size the caller's has. */
static int copy_attr(struct probe_attr *attr, u64 user, size_t size)
{
	size_t known = size < sizeof(*attr) ? size : sizeof(*attr);
	size_t at;
	u8 byte;

	*attr = (struct probe_attr){ 0 };
	if (size < PROBE_ATTR_SIZE_VER0)
		return -EINVAL;
	if (size > 4096)
		return -E2BIG;
	if (!copy_in(attr, user, known))
		return -EFAULT;
	for (at = known; at < size; at++) {
		if (!copy_in(&byte, user + at, 1))
			return -EFAULT;
		if (byte)
			return -E2BIG;
	}
	if (attr->size != size || attr->reserved[0] || attr->reserved[1])
		return -EINVAL;
	return 0;
}

/* A NUL-terminated name of the caller. */
static int copy_name(char *name, u64 user, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		if (!copy_in(&name[i], user + i, 1))
			return -EFAULT;
		if (!name[i])
			return 0;
	}
	return -EINVAL;
}

static int find_address(const struct probe_attr *attr, unsigned long *address)
{
	char name[PROBE_SYMBOL_MAX];
	unsigned long start;
	size_t size;
	int err;

	*address = attr->address;
	if (attr->symbol) {
		err = copy_name(name, attr->symbol, sizeof(name));
		if (err)
			return err;
		*address = symbol_address(name);
	}
	if (!symbol_at(*address, &start, &size))
		return -ENOENT;
	if (attr->offset >= start + size - *address)
		return -ERANGE;
	*address += attr->offset;
	return 0;
}

/* What of the attribute this kernel can't do. */
static bool asks_too_much(const struct probe_attr *attr)
{
	const u64 flags = PROBE_FLAG_NO_JUMP | PROBE_FLAG_ERRORS | PROBE_FLAG_CPU_TIME;

	return attr->flags & ~flags || attr->fetch_count || attr->test_count || attr->frames ||
	       attr->return_test_count || attr->stack_words || attr->group_fd != -1 ||
	       attr->contexts > 1;
}

long sys_probe_open(u64 user, size_t size, unsigned int flags)
{
	struct probe_refusal why = { 0 };
	struct probe_attr attr;
	unsigned long address;
	struct probe *p;
	int err, fd;

	err = flags ? -EINVAL : copy_attr(&attr, user, size);
	if (!err && asks_too_much(&attr))
		err = -EOPNOTSUPP;
	if (!err)
		err = find_address(&attr, &address);
	if (err)
		return err;
	for (fd = 0; fd < DESCRIPTORS && opened[fd]; fd++)
		;
	if (fd == DESCRIPTORS)
		return -EMFILE;
	p = os_alloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->address = address;
	p->kind = attr.kind;
	p->flags = attr.flags;
	p->active = attr.active;
	err = probe_prepare(p, &why);
	if (err) {
		os_free(p);
		attr.reason = why.reason;
		attr.reason_address = why.address;
		return copy_out(user, &attr, PROBE_ATTR_SIZE_VER0) ? err : -EFAULT;
	}
	opened[fd] = p;
	return fd;
}

static struct probe *probe_of(long fd)
{
	return fd >= 0 && fd < DESCRIPTORS ? opened[fd] : 0;
}

long sys_probe_ioctl(long fd, unsigned int request)
{
	struct probe *p = probe_of(fd);

	if (!p)
		return -EBADF;
	switch (request) {
	case PROBE_IOC_ENABLE:
		return probe_arm(&p, 1);
	case PROBE_IOC_DISABLE:
		return probe_disarm(&p, 1);
	case PROBE_IOC_RESET:
		probe_reset(p);
		return 0;
	}
	return -ENOTTY;
}

/* Bytes of statistics: a context that saw nothing has none. */
long sys_probe_read(long fd, u64 user, size_t size)
{
	struct probe *p = probe_of(fd);
	struct probe_stats sum;

	if (!p)
		return -EBADF;
	if (!probe_sum(p, 0, &sum))
		return 0;
	if (size < sizeof(sum))
		return -ENOSPC;
	return copy_out(user, &sum, sizeof(sum)) ? (long)sizeof(sum) : -EFAULT;
}

long sys_probe_close(long fd)
{
	struct probe *p = probe_of(fd);

	if (!p)
		return -EBADF;
	opened[fd] = 0;
	probe_release(p);
	os_free(p);
	return 0;
}
