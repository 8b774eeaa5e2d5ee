// SPDX-License-Identifier: Apache-2.0

/*
 * The program whose dump is in criu-4.1.1. It is freestanding so that the dump is small:
 * a pipe and a socket pair with data in them, an unlinked file, an eventfd in an epoll set, shared memory,
 * a memfd, a child and a zombie.
 *
 *	gcc -O2 -static -nostdlib -o /tmp/tiny/tiny tiny.c
 *	cd /; setsid /tmp/tiny/tiny </dev/null >/dev/null 2>&1 &
 *	criu dump -t PID -D criu-4.1.1 -o /tmp/tiny/dump.log
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static long sys(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = 0;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

void _start(void)
{
	int pipe[2], pair[2], ghost, event, epoll, memfd;
	struct epoll_event ev = { .events = EPOLLIN };
	char *shared;

	sys(SYS_pipe, (long)pipe, 0, 0, 0, 0);
	sys(SYS_write, pipe[1], (long)"hello pipe", 10, 0, 0);
	sys(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, (long)pair, 0);
	sys(SYS_write, pair[0], (long)"queued", 6, 0, 0);
	ghost = sys(SYS_open, (long)"/tmp/trapline-ghost", O_RDWR | O_CREAT | O_TRUNC, 0600, 0, 0);
	sys(SYS_write, ghost, (long)"ghost data", 10, 0, 0);
	sys(SYS_unlink, (long)"/tmp/trapline-ghost", 0, 0, 0, 0);
	event = sys(SYS_eventfd2, 3, 0, 0, 0, 0);
	epoll = sys(SYS_epoll_create1, 0, 0, 0, 0, 0);
	ev.data.fd = event;
	sys(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, event, (long)&ev, 0);
	shared = (char *)sys(SYS_mmap, 0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	shared[0] = 1;
	shared[8192] = 2;
	memfd = sys(SYS_memfd_create, (long)"tiny", 0, 0, 0, 0);
	sys(SYS_write, memfd, (long)"memfd", 5, 0, 0);
	if (sys(SYS_fork, 0, 0, 0, 0, 0) == 0 && sys(SYS_fork, 0, 0, 0, 0, 0) == 0)
		sys(SYS_exit, 3, 0, 0, 0, 0);
	for (;;)
		sys(SYS_pause, 0, 0, 0, 0, 0);
}
