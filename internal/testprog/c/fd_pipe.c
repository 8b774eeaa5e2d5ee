// SPDX-License-Identifier: Apache-2.0
// Pipes. argv[1]: "data" (several, with data, sizes and flags), "oneend" (the other end is closed), "packet", "shared"
// (ends in several processes), "full", "fifo" (named, with data, both ends and one), "splice".
#include "trapline_test.h"
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	char buf[70000], data[70000];
	int a[2], b[2], c[2], n = 0;
	volatile int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t kid, kid2;

	tt_block_go();
	tt_fill(data, sizeof(data), 6);
	if (!strcmp(mode, "data")) {
		MUST(!pipe2(a, O_CLOEXEC) && !pipe2(b, O_NONBLOCK) && !pipe(c));
		MUST(write(a[1], data, 20000) == 20000 && read(a[0], buf, 100) == 100);
		MUST(fcntl(b[1], F_SETPIPE_SZ, 1 << 20) == 1 << 20 && write(b[1], data, 70000) == 70000);
		tt_wait();
		CHECK(!ioctl(a[0], FIONREAD, &n) && n == 19900, "%d bytes in the pipe, expected 19900", n);
		CHECK(read(a[0], buf, sizeof(buf)) == 19900 && !memcmp(buf, data + 100, 19900), "data differs");
		CHECK(fcntl(a[0], F_GETFD) == FD_CLOEXEC, "close-on-exec is gone");
		CHECK(fcntl(b[0], F_GETPIPE_SZ) == 1 << 20, "size %d", fcntl(b[0], F_GETPIPE_SZ));
		CHECK(read(b[0], buf, 70000) == 70000 && !memcmp(buf, data, 70000), "data of the second differs");
		CHECK(read(b[0], buf, 1) < 0 && errno == EAGAIN, "O_NONBLOCK is gone");
		CHECK(write(c[1], "x", 1) == 1 && read(c[0], buf, 10) == 1 && buf[0] == 'x', "an empty pipe does not work");
	} else if (!strcmp(mode, "oneend")) {
		signal(SIGPIPE, SIG_IGN);
		MUST(!pipe(a) && !pipe(b) && write(a[1], "rest", 4) == 4);
		close(a[1]);
		close(b[0]);
		tt_wait();
		CHECK(read(a[0], buf, 10) == 4 && !memcmp(buf, "rest", 4), "the rest is not there");
		CHECK(read(a[0], buf, 10) == 0, "no end of file");
		CHECK(write(b[1], "x", 1) < 0 && errno == EPIPE, "a pipe without readers can be written");
	} else if (!strcmp(mode, "packet")) {
		MUST(!pipe2(a, O_DIRECT | O_NONBLOCK));
		MUST(write(a[1], "one", 3) == 3 && write(a[1], "three", 5) == 5);
		tt_wait();
		CHECK(read(a[0], buf, 100) == 3 && !memcmp(buf, "one", 3), "the first packet differs");
		CHECK(read(a[0], buf, 100) == 5 && !memcmp(buf, "three", 5), "the second packet differs");
	} else if (!strcmp(mode, "shared")) {
		MUST(!pipe(a) && !pipe(b));
		kid = fork();
		if (!kid) {
			close(a[1]);
			close(b[0]);
			kid2 = fork();
			if (!kid2) {
				close(b[1]);
				*ready = 1;
				while (read(a[0], buf, 1) == 1 && buf[0] != 'Q')
					;
				_exit(7);
			}
			close(a[0]);
			while (!*ready)
				sched_yield();
			if (write(b[1], "made", 4) != 4)
				_exit(1);
			tt_child_wait();
			int st = 0;
			waitpid(kid2, &st, 0);
			if (write(b[1], "done", 4) != 4)
				_exit(1);
			_exit(WIFEXITED(st) && WEXITSTATUS(st) == 7 ? 0 : 2);
		}
		close(a[0]);
		close(b[1]);
		MUST(read(b[0], buf, 4) == 4);
		tt_wait();
		MUST(write(a[1], "xxQ", 3) == 3);
		kill(kid, TT_GO);
		CHECK(read(b[0], buf, 4) == 4 && !memcmp(buf, "done", 4), "the child's word did not arrive");
		tt_reap(kid, 0);
		CHECK(read(b[0], buf, 1) == 0, "no end of file after the child's end");
	} else if (!strcmp(mode, "full")) {
		MUST(!pipe2(a, O_NONBLOCK) && !pipe2(b, O_NONBLOCK));
		while (write(a[1], data, 4096) == 4096)
			n += 4096;
		for (int i = 0; i < 16; i++) // short pieces take a whole page each
			MUST(write(b[1], &i, 1) == 1);
		tt_wait();
		CHECK(write(a[1], data, 4096) < 0 && errno == EAGAIN, "a full pipe takes more");
		for (int i = 0; i < n; i += 4096)
			CHECK(read(a[0], buf, 4096) == 4096 && !memcmp(buf, data, 4096), "page %d differs", i / 4096);
		CHECK(read(b[0], buf, 100) == 16 && buf[15] == 15, "short pieces differ");
	} else if (!strcmp(mode, "fifo")) {
		MUST(!mkfifo("f1", 0640) && !mkfifo("f2", 0600));
		a[0] = open("f1", O_RDWR);
		a[1] = open("f1", O_WRONLY | O_NONBLOCK);
		b[0] = open("f2", O_RDONLY | O_NONBLOCK);
		MUST(a[0] >= 0 && a[1] >= 0 && b[0] >= 0 && write(a[1], data, 5000) == 5000);
		tt_wait();
		CHECK(read(a[0], buf, sizeof(buf)) == 5000 && !memcmp(buf, data, 5000), "data in the FIFO differs");
		CHECK(read(b[0], buf, 1) == 0, "a FIFO without writers: %s", strerror(errno));
		c[1] = open("f2", O_WRONLY | O_NONBLOCK);
		CHECK(c[1] >= 0 && write(c[1], "z", 1) == 1 && read(b[0], buf, 1) == 1 && buf[0] == 'z', "a new writer: %s", strerror(errno));
	} else
		MUST(!"a known case");
	tt_done();
}
