// SPDX-License-Identifier: Apache-2.0
// Unix sockets. argv[1]: "stream", "dgram", "seqpacket" (pairs with queued data, half closed, options), "rights"
// (queued descriptors), "listen" (a path), "abstract", "bound" (datagram sockets with names), "shared" (a pair between
// processes), "connected" (a server and a client of the tree),
// "peername" (the same; the client still sees the name of the server).
#include "trapline_test.h"
#include <sched.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t name(struct sockaddr_un *sa, const char *path, int abstract)
{
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	strcpy(sa->sun_path + abstract, path);
	return offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;
}

static void send_fd(int s, int fd, const char *text)
{
	struct iovec iov = {(void *)text, strlen(text)};
	char buf[CMSG_SPACE(sizeof(int))] = "";
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	MUST(sendmsg(s, &m, 0) == (ssize_t)strlen(text));
}

static int recv_fd(int s, char *text, size_t size)
{
	struct iovec iov = {text, size};
	char buf[CMSG_SPACE(sizeof(int))] = "";
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf)};
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(s, &m, MSG_DONTWAIT) < 0)
		return -1;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int type = !strcmp(mode, "stream") ? SOCK_STREAM : !strcmp(mode, "dgram") ? SOCK_DGRAM : !strcmp(mode, "seqpacket") ? SOCK_SEQPACKET : 0;
	char buf[100000] = "", data[100000];
	struct sockaddr_un sa, peer;
	socklen_t len, n;
	int s[2], t[2], a, b, v;
	struct stat st;

	tt_block_go();
	tt_fill(data, sizeof(data), 2);
	if (type) {
		MUST(!socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s) && !socketpair(AF_UNIX, type, 0, t));
		v = 1;
		MUST(!setsockopt(t[1], SOL_SOCKET, SO_PASSCRED, &v, sizeof(v)));
		v = 100000;
		MUST(!setsockopt(s[1], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)));
		struct timeval tv = {3, 250000};
		MUST(!setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
		MUST(write(s[1], data, 30000) == 30000 && write(s[1], data + 30000, 1000) == 1000 && write(s[0], "back", 4) == 4);
		MUST(write(t[1], "last words", 10) == 10 && !shutdown(t[1], SHUT_WR));
		tt_wait();
		if (type == SOCK_STREAM)
			CHECK(recv(s[0], buf, sizeof(buf), MSG_WAITALL | MSG_DONTWAIT) >= 30000, "queued data: %s", strerror(errno));
		else {
			CHECK(read(s[0], buf, sizeof(buf)) == 30000 && !memcmp(buf, data, 30000), "the first message differs");
			CHECK(read(s[0], buf, sizeof(buf)) == 1000 && !memcmp(buf, data + 30000, 1000), "the second message differs");
		}
		if (type == SOCK_STREAM)
			CHECK(!memcmp(buf, data, 30000), "queued data differs");
		CHECK(read(s[1], buf, 10) == 4 && !memcmp(buf, "back", 4), "data of the other way differs");
		if (type == SOCK_STREAM)
			while (read(s[0], buf, sizeof(buf)) > 0)
				;
		CHECK(read(s[0], buf, 1) < 0 && errno == EAGAIN, "O_NONBLOCK is gone: %s", strerror(errno));
		n = sizeof(v);
		CHECK(!getsockopt(t[1], SOL_SOCKET, SO_PASSCRED, &v, &n) && v == 1, "SO_PASSCRED is %d", v);
		n = sizeof(v);
		CHECK(!getsockopt(s[1], SOL_SOCKET, SO_SNDBUF, &v, &n) && v == 200000, "SO_SNDBUF is %d, expected 200000", v);
		n = sizeof(tv);
		CHECK(!getsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &tv, &n) && tv.tv_sec == 3, "SO_RCVTIMEO is %ld", tv.tv_sec);
		CHECK(read(t[0], buf, 100) == 10 && !memcmp(buf, "last words", 10), "data before a shutdown differs");
		if (type != SOCK_DGRAM)
			CHECK(read(t[0], buf, 100) == 0, "the shutdown is gone");
		CHECK(write(t[0], "still", 5) == 5 && read(t[1], buf, 10) == 5, "the other way: %s", strerror(errno));
	} else if (!strcmp(mode, "rights")) {
		MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, s));
		a = open("passed", O_RDWR | O_CREAT, 0600);
		MUST(write(a, "contents", 8) == 8);
		send_fd(s[1], a, "one");
		close(a);
		tt_wait();
		b = recv_fd(s[0], buf, 3);
		CHECK(b >= 0 && !memcmp(buf, "one", 3), "no descriptor in the queue: %s", strerror(errno));
		CHECK(pread(b, buf, 8, 0) == 8 && !memcmp(buf, "contents", 8), "the descriptor reads %.8s", buf);
	} else if (!strcmp(mode, "listen") || !strcmp(mode, "abstract")) {
		char path[64] = "listening";
		if (!strcmp(mode, "abstract"))
			snprintf(path, sizeof(path), "trapline-test-%d", getpid());
		len = name(&sa, path, !strcmp(mode, "abstract"));
		a = socket(AF_UNIX, SOCK_STREAM, 0);
		MUST(!bind(a, (void *)&sa, len) && !listen(a, 17));
		if (!strcmp(mode, "listen"))
			MUST(!chmod(path, 0621));
		tt_wait();
		b = socket(AF_UNIX, SOCK_STREAM, 0);
		CHECK(!connect(b, (void *)&sa, len), "connect: %s", strerror(errno));
		v = accept(a, NULL, NULL);
		CHECK(v >= 0 && write(b, "x", 1) == 1 && read(v, buf, 1) == 1, "accept: %s", strerror(errno));
		n = sizeof(peer);
		CHECK(!getsockname(a, (void *)&peer, &n) && n == len && !memcmp(&peer, &sa, len), "another name");
		if (!strcmp(mode, "listen"))
			CHECK(!stat(path, &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0621, "mode of the socket file is %o", st.st_mode);
	} else if (!strcmp(mode, "bound")) {
		a = socket(AF_UNIX, SOCK_DGRAM, 0);
		b = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		len = name(&sa, "dgram-a", 0);
		MUST(!bind(a, (void *)&sa, len));
		len = name(&peer, "dgram-b", 0);
		MUST(!bind(b, (void *)&peer, len));
		MUST(!connect(a, (void *)&peer, len) && write(a, "queued", 6) == 6);
		tt_wait();
		n = sizeof(sa);
		memset(&sa, 0, sizeof(sa));
		CHECK(recvfrom(b, buf, 100, 0, (void *)&sa, &n) == 6 && !memcmp(buf, "queued", 6), "the queued datagram: %s", strerror(errno));
		CHECK(write(a, "more", 4) == 4 && read(b, buf, 10) == 4, "no longer connected: %s", strerror(errno));
		n = sizeof(sa);
		CHECK(!getpeername(a, (void *)&sa, &n) && !strcmp(sa.sun_path, "dgram-b"), "peer is %s", sa.sun_path);
	} else if (!strcmp(mode, "shared")) {
		volatile int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, s));
		pid_t kid = fork();
		if (!kid) {
			close(s[0]);
			*ready = 1;
			tt_child_wait();
			if (read(s[1], buf, 5) != 5 || memcmp(buf, "hello", 5) || write(s[1], "world", 5) != 5)
				_exit(1);
			_exit(0);
		}
		close(s[1]);
		while (!*ready)
			sched_yield();
		MUST(write(s[0], "hello", 5) == 5);
		tt_wait();
		kill(kid, TT_GO);
		CHECK(recv(s[0], buf, 5, MSG_WAITALL) == 5 && !memcmp(buf, "world", 5), "the answer: %s", strerror(errno));
		CHECK(read(s[0], buf, 1) == 0, "no end of file after the child's end");
		tt_reap(kid, 0);
	} else if (!strcmp(mode, "connected") || !strcmp(mode, "peername")) {
		a = socket(AF_UNIX, SOCK_STREAM, 0);
		len = name(&sa, "server", 0);
		MUST(!bind(a, (void *)&sa, len) && !listen(a, 5));
		s[0] = socket(AF_UNIX, SOCK_STREAM, 0);
		MUST(!connect(s[0], (void *)&sa, len));
		s[1] = accept(a, NULL, NULL);
		MUST(s[1] >= 0 && write(s[0], "question", 8) == 8);
		tt_wait();
		CHECK(read(s[1], buf, 100) == 8 && !memcmp(buf, "question", 8), "queued data: %s", strerror(errno));
		CHECK(write(s[1], "answer", 6) == 6 && read(s[0], buf, 100) == 6, "the answer: %s", strerror(errno));
		n = sizeof(peer);
		if (!strcmp(mode, "peername"))
			CHECK(!getpeername(s[0], (void *)&peer, &n) && !strcmp(peer.sun_path, "server"), "peer is %s", peer.sun_path);
		b = socket(AF_UNIX, SOCK_STREAM, 0);
		CHECK(!connect(b, (void *)&sa, len) && accept(a, NULL, NULL) >= 0, "a new client: %s", strerror(errno));
	} else
		MUST(!"a known case");
	tt_done();
}
