// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Runs in the guest: how probes can be placed on every function of the kernel, and how long placing takes. Lines of JSON.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "trapline.h"

#define MANY 1000
#define CYCLES 201

struct function {
	uint64_t address;
	char name[PROBE_SYMBOL_MAX];
};

static struct function *functions;
static size_t count;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void read_functions(void)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[1024], type;

	if (!f) {
		perror("/proc/kallsyms");
		exit(1);
	}
	while (fgets(line, sizeof(line), f)) {
		struct function e;

		if (sscanf(line, "%lx %c %511s", &e.address, &type, e.name) != 3 || !strchr("tTwW", type))
			continue;
		/* Kallsyms is sorted by address; of several names of one function one is enough. */
		if (count && functions[count - 1].address == e.address)
			continue;
		if (!(count & (count - 1))) {
			functions = realloc(functions, (count ? 2 * count : 1) * sizeof(e));
			if (!functions)
				exit(1);
		}
		functions[count++] = e;
	}
	fclose(f);
}

static int open_probe(const struct function *f, uint32_t kind, int group, uint32_t *reason)
{
	struct probe_attr a = {
		.size = sizeof(a), .kind = kind, .symbol = (uintptr_t)f->name, .address = f->address,
		.group_fd = group, .active = kind == PROBE_LATENCY ? 4 : 0,
	};
	int fd = syscall(__NR_probe_open, &a, sizeof(a), 0);

	*reason = a.reason;
	return fd;
}

/* Which method each function gets, or which reason against it. */
static void coverage(void)
{
	uint64_t method[4] = {}, reason[32] = {}, refused = 0;

	for (size_t i = 0; i < count; i++) {
		struct probe_info info = {};
		uint32_t why = 0;
		int fd = open_probe(&functions[i], PROBE_ENTRY, -1, &why);

		if (fd < 0) {
			if (errno == EINVAL) { /* not the place is refused but the call, so all would be */
				perror(functions[i].name);
				exit(1);
			}
			refused++;
			reason[why & 31]++;
			continue;
		}
		if (ioctl(fd, PROBE_IOC_INFO, &info))
			perror("PROBE_IOC_INFO");
		method[info.method & 3]++;
		close(fd);
	}
	printf("{\"kind\":\"coverage\",\"functions\":%zu,\"jump\":%llu,\"slot\":%llu,\"simulate\":%llu,\"refused\":%llu,"
	       "\"reasons\":{", count, (unsigned long long)method[PROBE_METHOD_JUMP],
	       (unsigned long long)method[PROBE_METHOD_SLOT], (unsigned long long)method[PROBE_METHOD_SIMULATE],
	       (unsigned long long)refused);
	for (int r = 0, first = 1; r < 32; r++) {
		if (!reason[r])
			continue;
		printf("%s\"%d\":%llu", first ? "" : ",", r, (unsigned long long)reason[r]);
		first = 0;
	}
	printf("}}\n");
}

/* One probe after another. */
static void single(const struct function *f)
{
	static uint64_t open_ns[CYCLES], enable_ns[CYCLES], close_ns[CYCLES];
	uint32_t why;

	for (int i = 0; i < CYCLES; i++) {
		uint64_t t = now(), u;
		int fd = open_probe(f, PROBE_LATENCY, -1, &why);

		u = now();
		open_ns[i] = u - t;
		if (fd < 0 || ioctl(fd, PROBE_IOC_ENABLE, 0)) {
			perror(f->name);
			exit(1);
		}
		t = now();
		enable_ns[i] = t - u;
		close(fd);
		close_ns[i] = now() - t;
	}
	qsort(open_ns, CYCLES, sizeof(uint64_t), by_number);
	qsort(enable_ns, CYCLES, sizeof(uint64_t), by_number);
	qsort(close_ns, CYCLES, sizeof(uint64_t), by_number);
	printf("{\"kind\":\"single\",\"open\":%llu,\"enable\":%llu,\"close\":%llu,\"slowest_enable\":%llu,"
	       "\"slowest_close\":%llu}\n", (unsigned long long)open_ns[CYCLES / 2],
	       (unsigned long long)enable_ns[CYCLES / 2], (unsigned long long)close_ns[CYCLES / 2],
	       (unsigned long long)enable_ns[CYCLES - 1], (unsigned long long)close_ns[CYCLES - 1]);
}

/* As many as a session has. */
static void many(void)
{
	static int fd[MANY];
	uint64_t t[5];
	uint32_t why;
	size_t n = 0;

	t[0] = now();
	for (size_t i = 0; i < count && n < MANY; i += 7) {
		fd[n] = open_probe(&functions[i], PROBE_LATENCY, n ? fd[0] : -1, &why);
		if (fd[n] >= 0)
			n++;
	}
	t[1] = now();
	if (!n || ioctl(fd[0], PROBE_IOC_ENABLE, PROBE_GROUP)) {
		perror("PROBE_IOC_ENABLE of a group");
		exit(1);
	}
	t[2] = now();
	if (ioctl(fd[0], PROBE_IOC_DISABLE, PROBE_GROUP))
		perror("PROBE_IOC_DISABLE of a group");
	t[3] = now();
	for (size_t i = 0; i < n; i++)
		close(fd[i]);
	t[4] = now();
	printf("{\"kind\":\"many\",\"probes\":%zu,\"open\":%llu,\"enable\":%llu,\"disable\":%llu,\"close\":%llu}\n", n,
	       (unsigned long long)(t[1] - t[0]), (unsigned long long)(t[2] - t[1]),
	       (unsigned long long)(t[3] - t[2]), (unsigned long long)(t[4] - t[3]));
}

int main(void)
{
	struct rlimit files = { 4096, 4096 };
	struct function vfs_write = { .name = "vfs_write" };

	setrlimit(RLIMIT_NOFILE, &files);
	read_functions();
	coverage();
	single(&vfs_write);
	many();
	return 0;
}
