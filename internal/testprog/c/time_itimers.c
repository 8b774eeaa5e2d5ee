// SPDX-License-Identifier: Apache-2.0
// setitimer: real, virtual and profiling, with intervals, and one that is due after the restore.
#include "trapline_test.h"
#include <sys/time.h>

static volatile int alarms;
static void on_alarm(int sig) { alarms++; }

static double sec(struct timeval tv) { return tv.tv_sec + tv.tv_usec / 1e6; }

int main(void)
{
	struct itimerval set[3] = {
		{{7, 500000}, {1000, 250000}}, {{3, 1}, {500, 0}}, {{0, 0}, {900, 999999}},
	}, got;

	signal(SIGALRM, on_alarm);
	for (int i = 0; i < 3; i++)
		MUST(!setitimer(i, &set[i], NULL));
	tt_wait();
	for (int i = 0; i < 3; i++) {
		CHECK(!getitimer(i, &got), "getitimer: %s", strerror(errno));
		CHECK(got.it_interval.tv_sec == set[i].it_interval.tv_sec && labs(got.it_interval.tv_usec - set[i].it_interval.tv_usec) <= 10000, "timer %d: interval %f, expected %f", i, sec(got.it_interval), sec(set[i].it_interval));
		CHECK(sec(got.it_value) <= sec(set[i].it_value) + 0.02 && sec(got.it_value) > sec(set[i].it_value) - 300, "timer %d: %f s left, expected up to %f", i, sec(got.it_value), sec(set[i].it_value));
	}
	struct itimerval soon = {{0, 0}, {0, 1000}};
	sigset_t alrm, old;
	sigemptyset(&alrm);
	sigaddset(&alrm, SIGALRM);
	sigprocmask(SIG_BLOCK, &alrm, &old); // so that it can't come before sigsuspend
	setitimer(ITIMER_REAL, &soon, NULL);
	while (!alarms)
		sigsuspend(&old);
	tt_done();
}
