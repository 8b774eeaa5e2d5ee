// SPDX-License-Identifier: Apache-2.0
// SIGTRAP blocked and pending: an engine that traces must not take it for its own.
#include "trapline_test.h"
#include <signal.h>

int main(void)
{
	sigset_t set;
	siginfo_t si;
	struct timespec none = {0, 0};

	sigemptyset(&set);
	sigaddset(&set, SIGTRAP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	MUST(!sigqueue(getpid(), SIGTRAP, (union sigval){.sival_int = 55}));
	tt_wait();
	CHECK(sigtimedwait(&set, &si, &none) == SIGTRAP && si.si_value.sival_int == 55, "SIGTRAP is no longer pending");
	tt_done();
}
