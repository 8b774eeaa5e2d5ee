// SPDX-License-Identifier: Apache-2.0
//
// What the benchmark checkpoints, and the clock it is timed with. Static and small, so that a case consists of what it is named after.
//
//	target mem MIB | threads N | procs N | files N DIR | maps N
//		sets itself up, writes one byte to descriptor 3 and closes it, waits for SIGUSR1, then checks that everything is still
//		there and exits with 0, or 1 and a line on standard error.
//	target time COMMAND ARG...
//		runs a command and prints "STATUS NANOSECONDS MAXRSS_KIB". A small process of its own because ru_maxrss begins with the
//		size of the process that forked (Linux, fs/exec.c, exec_mmap), which for a Go program would already be some 10 MiB.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

static void fail(const char *what)
{
	dprintf(2, "target: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void wrong(const char *what, long expected, long seen)
{
	dprintf(2, "target: %s: expected %ld, seen %ld\n", what, expected, seen);
	_exit(1);
}

// Blocks until SIGUSR1, which main has blocked: no handler, nothing that a restart could lose.
static void wait_for_check(void)
{
	sigset_t set;
	int sig;

	if (write(3, "r", 1) != 1)
		fail("ready");
	close(3);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	// An interrupted sigwait (EINTR) is what a checkpoint may leave behind.
	while (sigwait(&set, &sig) == EINTR)
		;
}

// One word of a page says which page it is and the rest is not zero, so that no engine can leave a page out.
static void mem(long mib)
{
	size_t size = (size_t)mib << 20;
	unsigned char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		fail("mmap");
	// 4 KiB pages, as most memory of most programs: a huge page would make the case another one.
	madvise(area, size, MADV_NOHUGEPAGE);
	for (size_t off = 0; off < size; off += PAGE) {
		memset(area + off, 0x5a, PAGE);
		*(uint64_t *)(area + off) = off / PAGE;
	}
	wait_for_check();
	for (size_t off = 0; off < size; off += PAGE) {
		uint64_t number = *(uint64_t *)(area + off);

		if (number != off / PAGE)
			wrong("page number", (long)(off / PAGE), (long)number);
		if (area[off + PAGE - 1] != 0x5a)
			wrong("last byte of a page", 0x5a, area[off + PAGE - 1]);
	}
}

static void *sleeper(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static long count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	long n = 0;

	if (!d)
		fail(dir);
	for (struct dirent *entry; (entry = readdir(d));)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

// n threads, the first one included.
static void threads(long n)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (long i = 1; i < n; i++) {
		pthread_t thread;

		if (pthread_create(&thread, &attr, sleeper, NULL))
			fail("pthread_create");
	}
	wait_for_check();
	if (count_entries("/proc/self/task") != n)
		wrong("threads", n, count_entries("/proc/self/task"));
}

// n processes, the first one included; each child is asked and answers with its exit status.
static void procs(long n)
{
	pid_t *pids = calloc((size_t)n, sizeof(*pids));
	int up[2];
	char byte;

	if (!pids || pipe(up))
		fail("procs");
	for (long i = 1; i < n; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			fail("fork");
		if (!pids[i]) {
			sigset_t set;
			int sig;

			close(3);
			close(up[0]);
			if (write(up[1], "r", 1) != 1)
				_exit(1);
			close(up[1]);
			sigemptyset(&set);
			sigaddset(&set, SIGUSR1);
			while (sigwait(&set, &sig) == EINTR)
				;
			_exit(42);
		}
	}
	close(up[1]);
	for (long i = 1; i < n; i++)
		if (read(up[0], &byte, 1) != 1)
			fail("a child");
	close(up[0]);
	wait_for_check();
	for (long i = 1; i < n; i++) {
		int status;

		if (kill(pids[i], SIGUSR1))
			fail("kill");
		if (waitpid(pids[i], &status, 0) != pids[i])
			fail("waitpid");
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 42)
			wrong("wait status of a child", 42 << 8, status);
	}
}

// n regular files, each with a position of its own. Descriptors 4 to n+3.
static void files(long n, const char *dir)
{
	struct rlimit limit = {.rlim_cur = (rlim_t)n + 64, .rlim_max = (rlim_t)n + 64};

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (long i = 0; i < n; i++) {
		char path[512];
		int fd;

		snprintf(path, sizeof(path), "%s/file-%ld", dir, i);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || fd != (int)i + 4)
			fail(path);
		if (write(fd, "0123456789", 10) != 10 || lseek(fd, i % 10, SEEK_SET) != i % 10)
			fail(path);
	}
	wait_for_check();
	for (long i = 0; i < n; i++) {
		char byte;

		if (read((int)i + 4, &byte, 1) != 1)
			fail("read of a file");
		if (byte != '0' + i % 10)
			wrong("byte at a file's position", '0' + i % 10, byte);
	}
}

// n maps of one page each: neighbours differ in their protection, so the kernel can't join them.
static void maps(long n)
{
	unsigned char *area = mmap(NULL, (size_t)n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		fail("mmap");
	madvise(area, (size_t)n * PAGE, MADV_NOHUGEPAGE);
	for (long i = 0; i < n; i++)
		*(long *)(area + (size_t)i * PAGE) = i;
	for (long i = 0; i < n; i += 2)
		if (mprotect(area + (size_t)i * PAGE, PAGE, PROT_READ))
			fail("mprotect");
	wait_for_check();
	for (long i = 0; i < n; i++)
		if (*(long *)(area + (size_t)i * PAGE) != i)
			wrong("word of a map", i, *(long *)(area + (size_t)i * PAGE));
}

static int run_timed(char **command)
{
	struct timespec begin, end;
	struct rusage usage;
	int status, code;
	pid_t pid;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	pid = vfork();
	if (pid < 0)
		fail("vfork");
	if (!pid) {
		execv(command[0], command);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &usage) != pid)
		fail("wait4");
	clock_gettime(CLOCK_MONOTONIC, &end);
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	printf("%d %lld %ld\n", code,
	       (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec, usage.ru_maxrss);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";
	long n = argc > 2 ? atol(argv[2]) : 0;
	sigset_t set;

	if (!strcmp(mode, "time"))
		return run_timed(argv + 2);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (!strcmp(mode, "mem"))
		mem(n);
	else if (!strcmp(mode, "threads"))
		threads(n);
	else if (!strcmp(mode, "procs"))
		procs(n);
	else if (!strcmp(mode, "files") && argc > 3)
		files(n, argv[3]);
	else if (!strcmp(mode, "maps"))
		maps(n);
	else {
		dprintf(2, "usage: target mem|threads|procs|files|maps N, target time COMMAND\n");
		return 2;
	}
	return 0;
}
