// SPDX-License-Identifier: Apache-2.0
//
// What every test program shares. A program sets its subject up, calls tt_wait, and checks itself when that returns:
//
//	int main(void)
//	{
//		… set up …
//		tt_wait();			// "ready"; back when the test says "check"
//		CHECK(x == 1, "x is %d, expected 1", x);
//		tt_done();			// "ok" or "failed"
//	}
//
// No descriptor is open between, so the subject is alone in the process.
#ifndef TRAPLINE_TEST_H
#define TRAPLINE_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int tt_failed __attribute__((unused));
static int tt_cwdfd __attribute__((unused)) = -1; // set by programs that leave their directory: where the FIFOs are

__attribute__((unused)) static void tt_say(const char *line)
{
	int saved = errno;
	int fd = openat(tt_cwdfd >= 0 ? tt_cwdfd : AT_FDCWD, "out", O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		perror("open out");
		_exit(120);
	}
	// One write of less than PIPE_BUF, so lines of several processes do not mix.
	if (write(fd, line, strlen(line)) < 0)
		perror("write out");
	close(fd);
	errno = saved;
}

__attribute__((unused, format(printf, 2, 3))) static void tt_fail(const char *where, const char *fmt, ...)
{
	char text[1024], line[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "FAIL: %s: %s\n", where, text);
	tt_say(line);
	__atomic_add_fetch(&tt_failed, 1, __ATOMIC_SEQ_CST);
}

#define TT_STR2(x) #x
#define TT_STR(x) TT_STR2(x)

// CHECK reports what was expected and seen if cond does not hold.
#define CHECK(cond, ...)                                                     \
	do {                                                                 \
		if (!(cond))                                                 \
			tt_fail(__FILE__ ":" TT_STR(__LINE__), __VA_ARGS__); \
	} while (0)

// MUST is for the set-up: without it there is nothing to test.
#define MUST(cond)                                                             \
	do {                                                                   \
		if (!(cond)) {                                                 \
			tt_fail(__FILE__ ":" TT_STR(__LINE__), "set-up: %s: %s", #cond, strerror(errno)); \
			_exit(121);                                            \
		}                                                              \
	} while (0)

// tt_command blocks until the test sends a word. It reads to the end, when the test has closed the FIFO: opening it for
// the next word must wait for that to be sent.
__attribute__((unused)) static void tt_command(char *word, size_t size)
{
	size_t have = 0;
	ssize_t n;
	int fd;

	do
		fd = openat(tt_cwdfd >= 0 ? tt_cwdfd : AT_FDCWD, "cmd", O_RDONLY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		perror("open cmd");
		_exit(122);
	}
	while ((n = read(fd, word + have, size - 1 - have)) > 0 || (n < 0 && errno == EINTR))
		have += n > 0 ? n : 0;
	word[have] = 0;
	word[strcspn(word, "\n")] = 0;
	close(fd);
}

// tt_wait says that the set-up is done and returns when the test asks for the checks.
__attribute__((unused)) static void tt_wait(void)
{
	char word[64];

	tt_say("ready\n");
	tt_command(word, sizeof(word));
	if (strcmp(word, "check"))
		_exit(0);
}

// tt_verdict ends one round of checks.
__attribute__((unused)) static void tt_verdict(void)
{
	tt_say(tt_failed ? "failed\n" : "ok\n");
}

// tt_done ends the program with its verdict.
__attribute__((unused, noreturn)) static void tt_done(void)
{
	tt_verdict();
	_exit(tt_failed ? 1 : 0);
}

// tt_sum is FNV-1a over memory.
__attribute__((unused)) static uint64_t tt_sum(const void *p, size_t n)
{
	const unsigned char *c = (const unsigned char *)p;
	uint64_t h = 14695981039346656037ull;

	while (n--)
		h = (h ^ *c++) * 1099511628211ull;
	return h;
}

// tt_fill writes bytes that follow from seed, no two pages alike, and returns their tt_sum.
__attribute__((unused)) static uint64_t tt_fill(void *p, size_t n, uint64_t seed)
{
	unsigned char *c = (unsigned char *)p;
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		c[i] = x;
	}
	return tt_sum(p, n);
}

// tt_vmflags copies the VmFlags of the map that holds addr from /proc/self/smaps, "" if there is none.
__attribute__((unused)) static void tt_vmflags(const void *addr, char *flags, size_t size)
{
	char line[512];
	int in = 0;
	FILE *f = fopen("/proc/self/smaps", "re");

	flags[0] = 0;
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		unsigned long a, b;

		if (sscanf(line, "%lx-%lx ", &a, &b) == 2 && strchr(line, '-') < strchr(line, ' '))
			in = (unsigned long)addr >= a && (unsigned long)addr < b;
		else if (in && !strncmp(line, "VmFlags: ", 9)) {
			snprintf(flags, size, "%s", line + 8);
			flags[strcspn(flags, "\n")] = 0;
		}
	}
	fclose(f);
}

// tt_has tells whether the VmFlags of addr have flag, a word such as "dc".
__attribute__((unused)) static int tt_has(const void *addr, const char *flag)
{
	char flags[512], word[8];

	tt_vmflags(addr, flags, sizeof(flags));
	snprintf(word, sizeof(word), " %s ", flag);
	return strstr(flags, word) != NULL;
}

// tt_mapline copies the line of /proc/self/maps that holds addr.
__attribute__((unused)) static void tt_mapline(const void *addr, char *out, size_t size)
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "re");

	out[0] = 0;
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		unsigned long a, b;

		if (sscanf(line, "%lx-%lx ", &a, &b) == 2 && (unsigned long)addr >= a && (unsigned long)addr < b) {
			snprintf(out, size, "%s", line);
			out[strcspn(out, "\n")] = 0;
		}
	}
	fclose(f);
}

// tt_now is CLOCK_MONOTONIC in ns.
__attribute__((unused)) static int64_t tt_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

// tt_release_child lets a child go on that waits in tt_child_wait.
#define TT_GO SIGUSR1

// tt_child_wait blocks a child until its parent sends TT_GO, which must be blocked since before the fork.
__attribute__((unused)) static void tt_child_wait(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, TT_GO);
	do
		sig = sigwaitinfo(&set, NULL);
	while (sig < 0 && errno == EINTR);
}

__attribute__((unused)) static void tt_block_go(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, TT_GO);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

// tt_reap waits for a child and checks its exit status.
__attribute__((unused)) static void tt_reap(pid_t pid, int want)
{
	int st = -1;
	pid_t got;

	do
		got = waitpid(pid, &st, 0);
	while (got < 0 && errno == EINTR);
	CHECK(got == pid, "waitpid(%d) = %d: %s", pid, got, strerror(errno));
	CHECK(got == pid && WIFEXITED(st) && WEXITSTATUS(st) == want, "child %d: status %#x, expected exit %d", pid, st, want);
}

#endif
