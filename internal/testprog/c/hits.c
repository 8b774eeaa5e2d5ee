// SPDX-License-Identifier: Apache-2.0
//
// Does a given number of calls, for what counts and times calls: probes. Not for checkpoints, so it does not use
// trapline_test.h. One command a line comes on descriptor 4; when it is done, the nanoseconds that it took, and those of
// them on a processor, go to descriptor 3. At the start "ready" goes there. The end of descriptor 4 ends the program.
//
//	getppid N		N system calls
//	paced N RATE		N system calls getppid, so many a second: the pauses between are no system calls
//	write N			N writes of one byte to /dev/null
//	sizes N			N writes to /dev/null, of 1, 2 … N bytes, up to 255
//	stat N PATH		N newfstatat
//	open N PATH		N openat, each with its close
//	function N		N calls of work()
//	recurse N DEPTH		N calls of recurse(), which calls itself until it is DEPTH deep
//	sleep N NS THREADS	N sleeps in each of so many threads at once
//
// hits CPU runs on that processor alone. hits CPU COMMAND… does that one command, and prints how long it took.
//
// flags: -O2 -static -pthread
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
	dprintf(2, "hits: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static unsigned long long now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (unsigned long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

__attribute__((noinline)) long work(long n)
{
	// Else the compiler computes all calls at once.
	__asm__ volatile("" : "+r"(n));
	return n;
}

__attribute__((noinline)) long recurse(long depth)
{
	__asm__ volatile("" : "+r"(depth));
	// The addition keeps it a call: the compiler makes no loop of it.
	return depth > 1 ? 1 + work(recurse(depth - 1)) : 1;
}

struct sleeps {
	long n, ns;
	pthread_barrier_t *start;
};

static void *sleeper(void *arg)
{
	struct sleeps *s = arg;

	pthread_barrier_wait(s->start);
	for (long i = 0; i < s->n; i++) {
		struct timespec t = { s->ns / 1000000000, s->ns % 1000000000 };

		// Not nanosleep, which the Go runtime of the test itself calls.
		if (syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &t, NULL))
			fail("clock_nanosleep");
	}
	return NULL;
}

static void sleep_in_threads(long n, long ns, long threads)
{
	pthread_barrier_t start;
	struct sleeps s = { n, ns, &start };
	pthread_t *all = calloc(threads, sizeof(*all));

	if (!all)
		fail("calloc");
	pthread_barrier_init(&start, NULL, threads);
	for (long i = 0; i < threads; i++)
		if ((errno = pthread_create(&all[i], NULL, sleeper, &s)))
			fail("pthread_create");
	for (long i = 0; i < threads; i++)
		pthread_join(all[i], NULL);
	pthread_barrier_destroy(&start);
	free(all);
}

static void call_paced(long n, long rate)
{
	unsigned long long start = now(CLOCK_MONOTONIC);

	for (long i = 0; i < n; i++) {
		while (now(CLOCK_MONOTONIC) - start < i * 1000000000ull / rate)
			;
		syscall(SYS_getppid);
	}
}

static void run(const char *line, int null)
{
	char what[32], path[256] = "";
	long n = 0, a = 0, b = 0;

	if (sscanf(line, "%31s %ld", what, &n) != 2)
		fail(line);
	if (!strcmp(what, "getppid")) {
		for (long i = 0; i < n; i++)
			syscall(SYS_getppid);
	} else if (!strcmp(what, "paced") && sscanf(line, "%*s %*d %ld", &a) == 1 && a > 0) {
		call_paced(n, a);
	} else if (!strcmp(what, "write")) {
		for (long i = 0; i < n; i++)
			if (write(null, "x", 1) != 1)
				fail("write");
	} else if (!strcmp(what, "sizes") && n < 256) {
		static const char zeros[256];

		for (long i = 1; i <= n; i++)
			if (write(null, zeros, i) != i)
				fail("write");
	} else if (!strcmp(what, "stat") && sscanf(line, "%*s %*d %255s", path) == 1) {
		struct stat st;

		for (long i = 0; i < n; i++)
			if (syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0))
				fail(path);
	} else if (!strcmp(what, "open") && sscanf(line, "%*s %*d %255s", path) == 1) {
		for (long i = 0; i < n; i++)
			if (close(open(path, O_RDONLY | O_CLOEXEC)))
				fail(path);
	} else if (!strcmp(what, "function")) {
		for (long i = 0; i < n; i++)
			work(i);
	} else if (!strcmp(what, "recurse") && sscanf(line, "%*s %*d %ld", &a) == 1) {
		for (long i = 0; i < n; i++)
			recurse(a);
	} else if (!strcmp(what, "sleep") && sscanf(line, "%*s %*d %ld %ld", &a, &b) == 2) {
		sleep_in_threads(n, a, b);
	} else {
		errno = EINVAL;
		fail(line);
	}
}

static void measure(const char *line, int null, int answers)
{
	unsigned long long cpu = now(CLOCK_PROCESS_CPUTIME_ID), start = now(CLOCK_MONOTONIC);
	char text[64];
	struct iovec answer = { .iov_base = text };

	run(line, null);
	start = now(CLOCK_MONOTONIC) - start;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	// By writev, so that write is only what was ordered.
	answer.iov_len = snprintf(text, sizeof(text), "%llu %llu\n", start, cpu);
	if (writev(answers, &answer, 1) < 0)
		fail("answer");
}

int main(int argc, char **argv)
{
	int null = open("/dev/null", O_WRONLY);
	char line[512] = "";
	FILE *commands;

	if (null < 0)
		fail("/dev/null");
	if (argc > 1) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(atoi(argv[1]), &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			fail("sched_setaffinity");
	}
	if (argc > 2) {
		for (int i = 2; i < argc; i++) {
			strncat(line, argv[i], sizeof(line) - strlen(line) - 2);
			strcat(line, " ");
		}
		measure(line, null, 1);
		return 0;
	}
	commands = fdopen(4, "r");
	if (!commands)
		fail("descriptor 4");
	dprintf(3, "ready\n");
	while (fgets(line, sizeof(line), commands))
		measure(line, null, 3);
	return 0;
}
