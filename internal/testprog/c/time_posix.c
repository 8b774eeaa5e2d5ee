// SPDX-License-Identifier: Apache-2.0
// POSIX timers: ids with gaps, every clock, signal, thread-directed and silent notification, values and intervals, an
// armed one that fires after the restore, and one that overran while its signal was blocked.
#include "trapline_test.h"
#include <sched.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

// The kernel's ids, without glibc between.
static int ktimer_create(clockid_t c, struct sigevent *e, int *id) { return syscall(SYS_timer_create, c, e, id); }
static int ktimer_set(int id, int flags, const struct itimerspec *v) { return syscall(SYS_timer_settime, id, flags, v, NULL); }
static int ktimer_get(int id, struct itimerspec *v) { return syscall(SYS_timer_gettime, id, v); }

static double sec(struct timespec t) { return t.tv_sec + t.tv_nsec / 1e9; }

int main(void)
{
	static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_PROCESS_CPUTIME_ID, CLOCK_MONOTONIC, CLOCK_REALTIME};
	enum { N = 6 };
	int ids[N], overrun, fire, gone, silent;
	struct itimerspec set[N], got;
	sigset_t block;
	struct sigevent ev;
	struct timespec ten = {10, 0};
	siginfo_t si;

	sigfillset(&block);
	sigprocmask(SIG_BLOCK, &block, NULL);
	for (int i = 0; i < N; i++) {
		memset(&ev, 0, sizeof(ev));
		ev.sigev_notify = i == 2 ? SIGEV_THREAD_ID : SIGEV_SIGNAL;
		ev.sigev_signo = SIGRTMIN + i;
		ev.sigev_value.sival_ptr = (void *)(0x1000L + i);
		ev.sigev_notify_thread_id = gettid();
		MUST(!ktimer_create(clocks[i], &ev, &gone)); // deleted: leaves a gap
		MUST(!ktimer_create(clocks[i], &ev, &ids[i]));
		syscall(SYS_timer_delete, gone);
		set[i] = (struct itimerspec){{i, i * 1000}, {1000 + i, 500000000}};
		if (i == 5)
			set[i] = (struct itimerspec){{0}, {0}}; // disarmed
		MUST(!ktimer_set(ids[i], 0, &set[i]));
	}
	memset(&ev, 0, sizeof(ev));
	ev.sigev_notify = SIGEV_NONE;
	MUST(!ktimer_create(CLOCK_MONOTONIC, &ev, &silent));
	struct itimerspec v = {{0, 0}, {3000, 0}};
	MUST(!ktimer_set(silent, 0, &v));
	ev.sigev_notify = SIGEV_SIGNAL;
	ev.sigev_signo = SIGRTMIN + 20;
	ev.sigev_value.sival_int = 777;
	MUST(!ktimer_create(CLOCK_MONOTONIC, &ev, &fire));
	ev.sigev_signo = SIGRTMIN + 21;
	ev.sigev_value.sival_int = 888;
	MUST(!ktimer_create(CLOCK_MONOTONIC, &ev, &overrun));
	v = (struct itimerspec){{0, 1000000}, {0, 1000000}};
	MUST(!ktimer_set(overrun, 0, &v));
	int64_t end = tt_now() + 20000000;
	while (tt_now() < end)
		sched_yield();
	v = (struct itimerspec){{0, 0}, {0, 300000000}};
	MUST(!ktimer_set(fire, 0, &v));
	tt_wait();
	for (int i = 0; i < N; i++) {
		if (ktimer_get(ids[i], &got)) {
			CHECK(0, "timer %d (id %d) is gone: %s", i, ids[i], strerror(errno));
			continue;
		}
		CHECK(!memcmp(&got.it_interval, &set[i].it_interval, sizeof(struct timespec)), "timer id %d: interval %f, expected %f", ids[i], sec(got.it_interval), sec(set[i].it_interval));
		CHECK(sec(got.it_value) <= sec(set[i].it_value) && sec(got.it_value) >= sec(set[i].it_value) - 300, "timer id %d: %f s left, expected up to %f", ids[i], sec(got.it_value), sec(set[i].it_value));
	}
	CHECK(!ktimer_get(silent, &got) && got.it_value.tv_sec > 2500, "the silent timer: %ld s left", got.it_value.tv_sec);
	// A new timer gets an id that none of these has.
	int fresh = -1, taken = 0;
	CHECK(!ktimer_create(CLOCK_MONOTONIC, NULL, &fresh), "timer_create: %s", strerror(errno));
	for (int i = 0; i < N; i++)
		taken |= fresh == ids[i];
	CHECK(!taken && fresh != silent && fresh != fire && fresh != overrun, "a new timer got id %d, which is taken", fresh);
	// The one that fires tells its value.
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGRTMIN + 20);
	CHECK(sigtimedwait(&one, &si, &ten) == SIGRTMIN + 20, "the armed timer did not fire: %s", strerror(errno));
	CHECK(si.si_code == SI_TIMER && si.si_value.sival_int == 777 && si.si_timerid == fire, "its signal has code %d value %d id %d", si.si_code, si.si_value.sival_int, si.si_timerid);
	sigemptyset(&one);
	sigaddset(&one, SIGRTMIN + 21);
	CHECK(sigtimedwait(&one, &si, &ten) == SIGRTMIN + 21, "the timer that overran has no signal: %s", strerror(errno));
	CHECK(si.si_value.sival_int == 888 && si.si_timerid == overrun, "its signal has value %d id %d", si.si_value.sival_int, si.si_timerid);
	// What it overran before the dump nobody can put back; it must go on to overrun.
	end = tt_now() + 20000000;
	while (tt_now() < end)
		sched_yield();
	CHECK(sigtimedwait(&one, &si, &ten) == SIGRTMIN + 21, "it does not fire any more: %s", strerror(errno));
	CHECK(si.si_overrun >= 5, "it overran %d times in 20 ms", si.si_overrun);
	tt_done();
}
