// SPDX-License-Identifier: Apache-2.0
// Threads that check themselves all the time: registers, memory, results of system calls, signal masks. "check" asks
// whether all of them went on since the last time and none saw anything wrong; it can be asked as often as one likes.
#include "trapline_test.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <poll.h>
#include <sys/socket.h>

#define KINDS 8
#define EACH 4
#define N (KINDS * EACH)

static volatile long turns[N] __attribute__((aligned(64)));
static volatile int wrong[KINDS], wrong_errno[KINDS];
static volatile long wrong_value[KINDS];
static const char *const names[KINDS] = {"registers", "memory", "nanosleep", "pipe", "futex", "getpid", "poll", "signal mask"};
static int pipes[EACH][2];
static volatile int words[EACH];
static volatile long alarms;

static void bad(int kind, long value, int err)
{
	if (!__atomic_fetch_add(&wrong[kind], 1, __ATOMIC_SEQ_CST)) {
		wrong_value[kind] = value;
		wrong_errno[kind] = err;
	}
}

// Holds a pattern in registers for some thousand rounds.
static long registers(uint64_t seed)
{
	uint64_t a = seed, b = seed * 3, c = seed * 5, d = seed * 7, e = seed * 11, f = seed * 13, n = 20000;
	double x = seed;
	uint64_t out[6];
	double y;

#ifdef __riscv
	__asm__ volatile("fmv.d fs9, %[x]\n fmv.d.x fs10, %[a]\n fmv.d.x fs11, %[b]\n"
			 "1:\n addi %[a], %[a], 1\n addi %[b], %[b], 2\n addi %[c], %[c], 3\n addi %[d], %[d], 4\n addi %[e], %[e], 5\n"
			 " addi %[f], %[f], 6\n addi %[n], %[n], -1\n bnez %[n], 1b\n"
			 "fmv.d %[x], fs9\n fmv.x.d t0, fs10\n fmv.x.d t1, fs11\n"
			 "sd t0, 0(%[o])\n sd t1, 8(%[o])\n"
			 : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [e] "+r"(e), [f] "+r"(f), [n] "+r"(n), [x] "+f"(x)
			 : [o] "r"(out)
			 : "t0", "t1", "fs9", "fs10", "fs11", "memory");
#else
	__asm__ volatile("movq %[x], %%xmm9\n movq %[a], %%xmm10\n movq %[b], %%xmm15\n"
			 "1:\n add $1, %[a]\n add $2, %[b]\n add $3, %[c]\n add $4, %[d]\n add $5, %[e]\n add $6, %[f]\n dec %[n]\n jnz 1b\n"
			 "movq %%xmm9, %[x]\n movq %%xmm10, %%rax\n movq %%xmm15, %%rdx\n"
			 "mov %%rax, (%[o])\n mov %%rdx, 8(%[o])\n"
			 : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [e] "+r"(e), [f] "+r"(f), [n] "+r"(n), [x] "+x"(x)
			 : [o] "r"(out)
			 : "rax", "rdx", "xmm9", "xmm10", "xmm15", "memory", "cc");
#endif
	y = seed;
	return a == seed + 20000 && b == seed * 3 + 40000 && c == seed * 5 + 60000 && d == seed * 7 + 80000 && e == seed * 11 + 100000 &&
	       f == seed * 13 + 120000 && x == y && out[0] == seed && out[1] == seed * 3;
}

static void *run(void *arg)
{
	long i = (long)arg;
	int kind = i % KINDS, k = i / KINDS;
	pid_t tid = gettid();
	char *mem = NULL;
	uint64_t sum = 0;
	sigset_t mask, now;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGRTMIN + k);
	if (kind != 7)
		sigaddset(&mask, SIGALRM);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (kind == 1) {
		mem = malloc(100000);
		sum = tt_fill(mem, 100000, i);
	}
	for (;;) {
		struct timespec ts = {0, 200000 + 100000 * k};
		struct pollfd pfd = {pipes[k][0], 0, 0};
		char c = 0;
		long got;

		errno = 0;
		switch (kind) {
		case 0:
			if (!registers(turns[i] + i))
				bad(kind, turns[i], 0);
			break;
		case 1:
			if (tt_sum(mem, 100000) != sum)
				bad(kind, turns[i], 0);
			mem[turns[i] % 100000] ^= turns[i];
			sum = tt_sum(mem, 100000);
			break;
		case 2:
			// A restart block may be lost when the engine dies: then it is EINTR, and never anything else.
			got = nanosleep(&ts, NULL);
			if (got && errno != EINTR)
				bad(kind, got, errno);
			break;
		case 3:
			// Writes a byte to itself, and reads it: neither may be interrupted, there is no handler.
			if ((got = write(pipes[k][1], "q", 1)) != 1)
				bad(kind, got, errno);
			if ((got = read(pipes[k][0], &c, 1)) != 1 || c != 'q')
				bad(kind, got, errno);
			break;
		case 4:
			got = syscall(SYS_futex, &words[k], FUTEX_WAIT, 0, &ts, NULL, 0);
			if (got != -1 || (errno != ETIMEDOUT && errno != EINTR))
				bad(kind, got, errno);
			break;
		case 5:
			if (getppid() == 0 && getpid() != 1)
				bad(kind, getppid(), errno);
			if (syscall(SYS_gettid) != tid)
				bad(kind, gettid(), errno);
			if ((got = syscall(SYS_lseek, -1, 0, 0)) != -1 || errno != EBADF)
				bad(kind, got, errno);
			break;
		case 6:
			got = poll(&pfd, 0, 1);
			if (got != 0 && !(got == -1 && errno == EINTR))
				bad(kind, got, errno);
			break;
		case 7:
			sigemptyset(&now);
			syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &now, 8);
			if (memcmp(&now, &mask, 8))
				bad(kind, *(long *)&now, 0);
			sched_yield();
			break;
		}
		turns[i]++;
	}
	return NULL;
}

static void on_alarm(int sig) { alarms++; }

int main(void)
{
	pthread_t th;
	pthread_attr_t attr;
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	struct itimerspec it = {{0, 3000000}, {0, 3000000}};
	sigset_t block;
	timer_t timer;
	char word[64];

	sigaction(SIGALRM, &sa, NULL);
	// Only the threads of kind 7 take the signal.
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (int k = 0; k < EACH; k++)
		MUST(!pipe(pipes[k]));
	for (long i = 0; i < N; i++)
		MUST(!pthread_create(&th, &attr, run, (void *)i));
	MUST(!timer_create(CLOCK_MONOTONIC, &ev, &timer) && !timer_settime(timer, 0, &it, NULL));
	for (int i = 0; i < N; i++)
		while (!turns[i])
			sched_yield();
	while (!alarms)
		sched_yield();
	tt_say("ready\n");
	for (;;) {
		long before[N], alarms0 = alarms;

		tt_command(word, sizeof(word));
		if (strcmp(word, "check"))
			_exit(0);
		memcpy(before, (void *)turns, sizeof(before));
		for (int i = 0; i < N; i++)
			while (turns[i] < before[i] + 2)
				sched_yield();
		while (alarms == alarms0)
			sched_yield();
		for (int k = 0; k < KINDS; k++)
			CHECK(!wrong[k], "%s: wrong %d times, first %ld (errno %d)", names[k], wrong[k], wrong_value[k], wrong_errno[k]);
		tt_verdict();
		if (tt_failed)
			memset((void *)wrong, 0, sizeof(wrong));
		tt_failed = 0;
	}
}
