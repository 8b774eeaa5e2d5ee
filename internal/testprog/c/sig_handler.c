// SPDX-License-Identifier: Apache-2.0
// A process that is dumped while it runs a signal handler, on an alternate stack, within another handler.
#include "trapline_test.h"

static char alt[65536];
static volatile int outer, inner, on_alt;

static void second(int sig, siginfo_t *si, void *uc)
{
	char here;

	on_alt = &here > alt && &here < alt + sizeof(alt);
	inner = si->si_value.sival_int;
	tt_wait();
	inner++;
}

static void first(int sig)
{
	union sigval v = {.sival_int = 41};

	sigqueue(getpid(), SIGUSR2, v);
	outer = 1;
}

int main(void)
{
	struct sigaction sa = {.sa_handler = first};
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)};
	volatile double x = 1.5;
	sigset_t set;

	MUST(!sigaltstack(&ss, NULL));
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_sigaction = second;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sigaction(SIGUSR2, &sa, NULL);
	raise(SIGUSR1);
	CHECK(outer == 1 && inner == 42 && on_alt, "handlers: outer %d inner %d on the alternate stack %d", outer, inner, on_alt);
	CHECK(x * 2 == 3.0, "x is %f", x);
	sigprocmask(SIG_BLOCK, NULL, &set);
	for (int s = 1; s < 64; s++)
		CHECK(s == 32 || s == 33 || !sigismember(&set, s), "signal %d is blocked after the handlers", s);
	stack_t now;
	sigaltstack(NULL, &now);
	CHECK(now.ss_sp == alt && now.ss_flags == 0, "alternate stack %p flags %#x", now.ss_sp, now.ss_flags);
	tt_done();
}
