// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The small system call, as a program would use it.
 */
#include "tests.h"

static struct probe_attr attr_of(const char *symbol, u32 kind)
{
	return (struct probe_attr){
		.size = sizeof(struct probe_attr),
		.kind = kind,
		.symbol = (u64)symbol,
		.group_fd = -1,
	};
}

static long open_attr(struct probe_attr *attr)
{
	return sys_probe_open((u64)attr, sizeof(*attr), 0);
}

static void syscall_counts(void)
{
	struct probe_attr attr = attr_of("t_long", PROBE_LATENCY);
	struct probe_stats stats;
	size_t used = heap_used;
	long fd = open_attr(&attr);

	CHECK(fd, 0);
	t_long(5);
	CHECK(sys_probe_read(fd, (u64)&stats, sizeof(stats)), 0);
	CHECK(sys_probe_ioctl(fd, PROBE_IOC_ENABLE), 0);
	t_long(5);
	t_long(5);
	CHECK(sys_probe_read(fd, (u64)&stats, 8), -ENOSPC);
	CHECK(sys_probe_read(fd, (u64)&stats, sizeof(stats)), sizeof(stats));
	CHECK(stats.count, 2);
	CHECK(sys_probe_ioctl(fd, PROBE_IOC_RESET), 0);
	CHECK(sys_probe_ioctl(fd, PROBE_IOC_DISABLE), 0);
	t_long(5);
	CHECK(sys_probe_read(fd, (u64)&stats, sizeof(stats)), 0);
	CHECK(sys_probe_ioctl(fd, PROBE_IOC_ENABLE), 0);
	t_long(5);
	/* As when its program is killed. */
	CHECK(sys_probe_close(fd), 0);
	CHECK(sys_probe_close(fd), -EBADF);
	CHECK(sys_probe_read(fd, (u64)&stats, sizeof(stats)), -EBADF);
	CHECK(probe_text_reserved((unsigned long)t_long, (unsigned long)t_long + 4), false);
	CHECK(heap_used <= used + 1024, true);
}

static void syscall_refuses(void)
{
	struct probe_attr attr = attr_of("t_nowhere", PROBE_ENTRY);
	char longer[sizeof(attr) + 8] = { 0 };

	CHECK(open_attr(&attr), -ENOENT);
	attr.symbol = (u64)"t_reserved";
	attr.offset = (u64)t_reserved_inside - (u64)t_reserved;
	CHECK(open_attr(&attr), -EACCES);
	CHECK(attr.reason, PROBE_REASON_LR_SC);
	CHECK(attr.reason_address, t_reserved_load);
	attr.offset = 4096;
	CHECK(open_attr(&attr), -ERANGE);
	attr = attr_of("t_long", PROBE_ENTRY);
	attr.offset = 2;
	CHECK(open_attr(&attr), -EILSEQ);
	attr.offset = 0;
	attr.reserved[1] = 1;
	CHECK(open_attr(&attr), -EINVAL);
	attr.reserved[1] = 0;
	attr.flags = PROBE_FLAG_EVENTS;
	CHECK(open_attr(&attr), -EOPNOTSUPP);
	attr.flags = 0;
	CHECK(sys_probe_open((u64)&attr, sizeof(attr), 1), -EINVAL);
	CHECK(sys_probe_open((u64)&attr, 16, 0), -EINVAL);
	CHECK(sys_probe_open(0, sizeof(attr), 0), -EFAULT);
	attr.size = sizeof(longer);
	memcpy(longer, &attr, sizeof(attr));
	longer[sizeof(attr)] = 1;
	CHECK(sys_probe_open((u64)longer, sizeof(longer), 0), -E2BIG);
	longer[sizeof(attr)] = 0;
	CHECK(sys_probe_open((u64)longer, sizeof(longer), 0), 0);
	CHECK(sys_probe_ioctl(0, 1), -ENOTTY);
	CHECK(sys_probe_close(0), 0);
}

const struct test syscall_tests[] = {
	{ "system call", syscall_counts },
	{ "system call, refused", syscall_refuses },
	{ 0 },
};
