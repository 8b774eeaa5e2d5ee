// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Runs in the guest: counts the instructions of a write to /dev/null, and how many more they are with a probe in its way. One
 * line of JSON for each case. Only exact under QEMU's -icount with one hart.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "trapline.h"

#define PEER "/proc/trapline_peer"
#define CALLS 1000
#define RUNS 7

static int null_fd;
static uint64_t without;

static uint64_t retired(void)
{
	uint64_t n;

	__asm__ volatile("rdinstret %0" : "=r"(n));
	return n;
}

static void call(void)
{
	register long a0 __asm__("a0") = null_fd;
	register long a1 __asm__("a1") = (long)"x";
	register long a2 __asm__("a2") = 1;
	register long a7 __asm__("a7") = SYS_write;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
}

/* Instructions of CALLS calls: the fewest of some runs, as the timer's interrupt falls into some of them. */
static uint64_t run(void)
{
	uint64_t best = ~0ULL;

	for (int r = 0; r < RUNS; r++) {
		uint64_t begin = retired();

		for (int i = 0; i < CALLS; i++)
			call();
		begin = retired() - begin;
		if (begin < best)
			best = begin;
	}
	return best;
}

static void say(const char *by, const char *kind, const char *symbol, unsigned int offset,
		uint32_t method, uint64_t with)
{
	printf("{\"by\":\"%s\",\"kind\":\"%s\",\"symbol\":\"%s\",\"offset\":%u,\"method\":%u,"
	       "\"instructions\":%.2f}\n",
	       by, kind, symbol, offset, method, (double)(int64_t)(with - without) / CALLS);
	fflush(stdout);
}

static void fail(const char *what)
{
	printf("{\"error\":\"%s: %s\"}\n", what, strerror(errno));
	exit(1);
}

static int open_probe(const char *symbol, unsigned int offset, uint32_t kind, uint64_t flags,
		      const struct probe_fetch *fetch)
{
	struct probe_attr a = {
		.size = sizeof(a), .kind = kind, .flags = flags, .symbol = (uintptr_t)symbol,
		.offset = offset, .group_fd = -1, .fetches = (uintptr_t)fetch,
		.fetch_count = fetch ? 1 : 0,
	};

	return syscall(__NR_probe_open, &a, sizeof(a), 0);
}

static uint64_t counted(int fd)
{
	struct probe_stats s = {};

	if (read(fd, &s, sizeof(s)) < 0)
		fail("read of a probe");
	return s.count;
}

/* Measures one probe of ours. "entry" measures an argument, "count" nothing. A place that can't be probed, or not by the method wanted, is left out: false. */
static int ours(const char *kind, const char *symbol, unsigned int offset, uint32_t method)
{
	static const struct probe_fetch length = {
		.base = PROBE_BASE_REG, .index = 12, .size = 8,
	};
	int latency = !strcmp(kind, "latency");
	int value = !strcmp(kind, "entry");
	uint64_t flags = value ? PROBE_FLAG_VALUE : 0;
	struct probe_info info;
	uint64_t with, count;
	int fd;

	if (method != PROBE_METHOD_JUMP)
		flags |= PROBE_FLAG_NO_JUMP;
	fd = open_probe(symbol, offset, latency ? PROBE_LATENCY : PROBE_ENTRY, flags,
			value ? &length : NULL);
	if (fd < 0)
		return 0;
	if (ioctl(fd, PROBE_IOC_INFO, &info))
		fail("PROBE_IOC_INFO");
	if (info.method != method) {
		close(fd);
		return 0;
	}
	if (ioctl(fd, PROBE_IOC_ENABLE, 0))
		fail("PROBE_IOC_ENABLE");
	call();
	/* A place behind a branch may not be on the way. */
	if (counted(fd) != 1) {
		close(fd);
		return 0;
	}
	with = run();
	count = counted(fd);
	say("trapline", kind, symbol, offset, method, with);
	/* The guest's agent writes now and then. */
	if (count < 1 + RUNS * CALLS)
		printf("{\"error\":\"%s of %s counted %llu of %d calls\"}\n", kind, symbol,
		       (unsigned long long)count, 1 + RUNS * CALLS);
	close(fd);
	return 1;
}

static int tell_peer(const char *line)
{
	int fd = open(PEER, O_WRONLY), n;

	if (fd < 0)
		return -1;
	n = write(fd, line, strlen(line));
	close(fd);
	return n < 0 ? -1 : 0;
}

static void native(const char *kind, const char *symbol, unsigned int offset)
{
	char line[200];

	snprintf(line, sizeof(line), "%s %s+%u", kind, symbol, offset);
	if (access(PEER, F_OK))
		return;
	if (tell_peer(line))
		fail(line);
	say("native", kind, symbol, offset, 0, run());
	tell_peer("off");
}

/* An entry probe by one method and the native one at the same instruction: the first place on a call's way that takes it. */
static void entry(uint32_t method)
{
	static const char *const symbols[] = { "vfs_write", "ksys_write", "__riscv_sys_write",
					       "__fdget_pos", "fdget_pos", "write_null", "rw_verify_area" };

	for (unsigned int s = 0; s < sizeof(symbols) / sizeof(symbols[0]); s++) {
		unsigned int last = method == PROBE_METHOD_JUMP ? 0 : 64;

		for (unsigned int offset = 0; offset <= last; offset += 2) {
			if (!ours("entry", symbols[s], offset, method))
				continue;
			native("entry", symbols[s], offset);
			return;
		}
	}
	/* No error: nothing is simulated where a slot can do it. */
}

int main(int argc, char **argv)
{
	int far;

	null_fd = open("/dev/null", O_WRONLY);
	if (null_fd < 0)
		fail("/dev/null");
	without = 0;
	run();
	without = run();
	printf("{\"by\":\"none\",\"kind\":\"call\",\"instructions\":%.2f}\n", (double)without / CALLS);
	if (argc > 1 && !strcmp(argv[1], "-only-call"))
		return 0;
	ours("count", "vfs_write", 0, PROBE_METHOD_JUMP);
	entry(PROBE_METHOD_JUMP);
	entry(PROBE_METHOD_SLOT);
	entry(PROBE_METHOD_SIMULATE);
	ours("latency", "vfs_write", 0, PROBE_METHOD_JUMP);
	if (!ours("latency", "vfs_write", 0, PROBE_METHOD_SLOT))
		ours("latency", "vfs_write", 0, PROBE_METHOD_SIMULATE);
	native("latency", "vfs_write", 0);
	/* Another function is probed, and this one not. */
	far = open_probe("vfs_read", 0, PROBE_LATENCY, 0, NULL);
	if (far >= 0 && !ioctl(far, PROBE_IOC_ENABLE, 0)) {
		say("trapline", "elsewhere", "vfs_read", 0, 0, run());
		close(far);
	}
	return 0;
}
