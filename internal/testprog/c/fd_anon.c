// SPDX-License-Identifier: Apache-2.0
// Descriptors without a file: argv[1] = "eventfd", "semaphore", "timerfd", "signalfd", "epoll", "epoll_dup", "epoll_nested",
// "memfd", "devices", "shared" (dup and fork).
#include "trapline_test.h"
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#endif

static uint64_t read8(int fd)
{
	uint64_t v = 0;

	return read(fd, &v, 8) == 8 ? v : 0;
}

static void write8(int fd, uint64_t v) { MUST(write(fd, &v, 8) == 8); }

static int wait_one(int ep, int ms, uint64_t *data)
{
	struct epoll_event ev = {0};
	int n;

	do
		n = epoll_wait(ep, &ev, 1, ms);
	while (n < 0 && errno == EINTR);
	*data = ev.data.u64;
	return n;
}

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	MUST(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int a, b, c, d, p[2];
	struct itimerspec it, got;
	uint64_t data;
	char buf[4096] = "";
	sigset_t set;

	tt_block_go();
	if (!strcmp(mode, "eventfd")) {
		a = eventfd(5, EFD_CLOEXEC);
		b = eventfd(0, EFD_NONBLOCK);
		tt_wait();
		CHECK(fcntl(a, F_GETFD) == FD_CLOEXEC, "close-on-exec is gone");
		data = read8(a);
		CHECK(data == 5, "count %lu, expected 5", data);
		CHECK(read8(b) == 0 && errno == EAGAIN, "an empty one: %s", strerror(errno));
	} else if (!strcmp(mode, "semaphore")) {
		c = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
		tt_wait();
		CHECK(read8(c) == 1 && read8(c) == 1 && read8(c) == 1 && read8(c) == 0, "the semaphore does not count");
	} else if (!strcmp(mode, "timerfd")) {
		a = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
		it = (struct itimerspec){{3, 4000}, {2000, 5000}};
		MUST(!timerfd_settime(a, 0, &it, NULL));
		b = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
		it = (struct itimerspec){{0, 0}, {time(NULL) + 5000, 0}};
		MUST(!timerfd_settime(b, TFD_TIMER_ABSTIME, &it, NULL));
		c = timerfd_create(CLOCK_MONOTONIC, 0);
		it = (struct itimerspec){{0, 0}, {0, 1000000}};
		MUST(!timerfd_settime(c, 0, &it, NULL));
		struct epoll_event ev;
		int ep = epoll_create1(0);
		add(ep, c, EPOLLIN, 1);
		MUST(epoll_wait(ep, &ev, 1, 10000) == 1); // it has expired: one tick to read
		close(ep);
		d = timerfd_create(CLOCK_BOOTTIME, 0);
		it = (struct itimerspec){{0, 0}, {0, 400000000}};
		MUST(!timerfd_settime(d, 0, &it, NULL));
		tt_wait();
		CHECK(!timerfd_gettime(a, &got) && got.it_interval.tv_sec == 3 && got.it_interval.tv_nsec == 4000, "interval %ld.%09ld", got.it_interval.tv_sec, got.it_interval.tv_nsec);
		CHECK(got.it_value.tv_sec <= 2000 && got.it_value.tv_sec > 1700, "%ld s left", got.it_value.tv_sec);
		CHECK(fcntl(a, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is gone");
		CHECK(!timerfd_gettime(b, &got) && got.it_value.tv_sec <= 5000 && got.it_value.tv_sec > 4700, "absolute: %ld s left", got.it_value.tv_sec);
		data = read8(c);
		CHECK(data == 1, "%lu ticks of an expired timer, expected 1", data);
		data = read8(d);
		CHECK(data == 1, "%lu ticks of the pending timer, expected 1", data);
	} else if (!strcmp(mode, "signalfd")) {
		struct signalfd_siginfo si = {0};
		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		sigaddset(&set, SIGRTMIN + 7);
		sigprocmask(SIG_BLOCK, &set, NULL);
		a = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
		union sigval v = {.sival_int = 4711};
		MUST(!sigqueue(getpid(), SIGRTMIN + 7, v));
		tt_wait();
		CHECK(read(a, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGRTMIN + 7 && si.ssi_int == 4711, "signal %d value %d: %s", si.ssi_signo, si.ssi_int, strerror(errno));
		CHECK(read(a, &si, sizeof(si)) < 0 && errno == EAGAIN, "a signal more");
		raise(SIGUSR2);
		CHECK(read(a, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR2, "SIGUSR2: %s", strerror(errno));
		raise(SIGCHLD);
		CHECK(read(a, &si, sizeof(si)) < 0 && errno == EAGAIN, "the mask is wider");
	} else if (!strcmp(mode, "epoll")) {
		a = epoll_create1(EPOLL_CLOEXEC);
		b = eventfd(0, EFD_NONBLOCK);
		c = eventfd(0, EFD_NONBLOCK);
		MUST(!pipe(p));
		add(a, b, EPOLLIN, 0x1234567812345678);
		add(a, c, EPOLLIN | EPOLLET | EPOLLONESHOT, 2);
		add(a, p[0], EPOLLIN | EPOLLRDHUP, 3);
		MUST(wait_one(a, 0, &data) == 0);
		tt_wait();
		CHECK(wait_one(a, 0, &data) == 0, "an event for nothing: %#lx", data);
		write8(b, 1);
		CHECK(wait_one(a, 5000, &data) == 1 && data == 0x1234567812345678, "data %#lx", data);
		read8(b);
		write8(c, 1);
		CHECK(wait_one(a, 5000, &data) == 1 && data == 2, "data %#lx, expected 2", data);
		write8(c, 1);
		CHECK(wait_one(a, 0, &data) == 0, "EPOLLONESHOT is gone: %#lx", data);
		MUST(write(p[1], "x", 1) == 1);
		CHECK(wait_one(a, 5000, &data) == 1 && data == 3, "data %#lx, expected 3", data);
		struct epoll_event ev = {.events = EPOLLIN};
		CHECK(epoll_ctl(a, EPOLL_CTL_ADD, b, &ev) < 0 && errno == EEXIST, "a descriptor is missing in the set");
	} else if (!strcmp(mode, "epoll_dup")) {
		// What is registered was closed and lives on as a duplicate.
		a = epoll_create1(0);
		b = eventfd(0, EFD_NONBLOCK);
		add(a, b, EPOLLIN, 77);
		c = dup(b);
		close(b);
		tt_wait();
		write8(c, 1);
		CHECK(wait_one(a, 5000, &data) == 1 && data == 77, "data %lu, expected 77", data);
	} else if (!strcmp(mode, "epoll_nested")) {
		a = epoll_create1(0);
		b = epoll_create1(0);
		c = eventfd(0, EFD_NONBLOCK);
		add(b, c, EPOLLIN, 5);
		add(a, b, EPOLLIN, 6);
		tt_wait();
		write8(c, 1);
		CHECK(wait_one(a, 5000, &data) == 1 && data == 6, "outer: %lu, expected 6", data);
		CHECK(wait_one(b, 5000, &data) == 1 && data == 5, "inner: %lu, expected 5", data);
	} else if (!strcmp(mode, "memfd")) {
		a = memfd_create("a name", MFD_ALLOW_SEALING | MFD_CLOEXEC);
		static char big[200000];
		uint64_t sum = tt_fill(big, sizeof(big), 3);
		MUST(write(a, big, sizeof(big)) == sizeof(big) && lseek(a, 777, SEEK_SET) == 777);
		MUST(!fcntl(a, F_ADD_SEALS, 0x000f) && !fchmod(a, 0604));
		b = memfd_create("unsealed", 0);
		MUST(!ftruncate(b, 1 << 30) && pwrite(b, "end", 3, (1 << 30) - 3) == 3);
		snprintf(buf, sizeof(buf), "/proc/self/fd/%d", b);
		c = open(buf, O_RDONLY);
		struct stat st;
		tt_wait();
		memset(big, 0, sizeof(big));
		CHECK(pread(a, big, sizeof(big), 0) == sizeof(big) && tt_sum(big, sizeof(big)) == sum, "contents differ");
		CHECK(lseek(a, 0, SEEK_CUR) == 777, "position %ld", (long)lseek(a, 0, SEEK_CUR));
		CHECK(fcntl(a, F_GET_SEALS) == 0x000f, "seals %#x", fcntl(a, F_GET_SEALS));
		CHECK(!fstat(a, &st) && (st.st_mode & 0777) == 0604, "mode %o", st.st_mode);
		memset(buf, 0, sizeof(buf));
		CHECK(pread(b, buf, 10, (1 << 30) - 3) == 3 && !strcmp(buf, "end"), "the end of the second reads %s", buf);
		CHECK(!fstat(b, &st) && st.st_size == 1 << 30 && st.st_blocks < 1000, "size %ld, %ld blocks", (long)st.st_size, (long)st.st_blocks);
		CHECK(pwrite(b, "Q", 1, 10) == 1 && pread(c, buf, 1, 10) == 1 && buf[0] == 'Q', "two open files of one memfd do not share");
		CHECK((fcntl(c, F_GETFL) & O_ACCMODE) == O_RDONLY, "the second open file is writable");
	} else if (!strcmp(mode, "devices")) {
		static const char *const paths[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/kmsg"};
		int fds[5];
		for (int i = 0; i < 5; i++)
			MUST((fds[i] = open(paths[i], i ? O_RDONLY : O_RDWR)) >= 0);
		tt_wait();
		for (int i = 0; i < 5; i++) {
			char link[64];
			snprintf(link, sizeof(link), "/proc/self/fd/%d", fds[i]);
			memset(buf, 0, 64);
			CHECK(readlink(link, buf, 63) > 0 && !strcmp(buf, paths[i]), "%s is %s", paths[i], buf);
		}
		CHECK(write(fds[0], "x", 1) == 1 && read(fds[0], buf, 1) == 0, "/dev/null");
		buf[0] = 5;
		CHECK(read(fds[1], buf, 1) == 1 && buf[0] == 0, "/dev/zero");
		CHECK(read(fds[4], buf, 8) == 8, "/dev/urandom");
	} else if (!strcmp(mode, "shared")) {
		a = open("file", O_RDWR | O_CREAT, 0600);
		MUST(write(a, "0123456789", 10) == 10 && lseek(a, 0, SEEK_SET) == 0);
		b = dup(a);
		c = open("file", O_RDWR);
		int e = eventfd(0, 0);
		pid_t kid = fork();
		if (!kid) {
			tt_child_wait();
			if (read(a, buf, 3) != 3)
				_exit(1);
			write8(e, 9);
			fcntl(b, F_SETFL, O_APPEND);
			_exit(0);
		}
		tt_wait();
		CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0, a, b) == 0, "a dup is another open file now");
		CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0, a, c) != 0, "two open files became one");
		CHECK(syscall(SYS_kcmp, getpid(), kid, 0, a, a) == 0, "parent and child no longer share");
		kill(kid, TT_GO);
		tt_reap(kid, 0);
		CHECK(lseek(a, 0, SEEK_CUR) == 3, "position %ld after the child's read, expected 3", (long)lseek(a, 0, SEEK_CUR));
		CHECK(lseek(c, 0, SEEK_CUR) == 0, "position of the other open file %ld", (long)lseek(c, 0, SEEK_CUR));
		CHECK(fcntl(a, F_GETFL) & O_APPEND, "flags are not shared");
		CHECK(read8(e) == 9, "the eventfd is not shared");
	} else
		MUST(!"a known case");
	tt_done();
}
