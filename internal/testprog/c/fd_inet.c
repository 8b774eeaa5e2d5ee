// SPDX-License-Identifier: Apache-2.0
// Internet sockets. argv[1]: "listen4", "listen6" (with options), "udp" (bound, connected, fresh), "unconnected" (TCP
// bound and fresh), "established" (dumped with --tcp-close: closed after), "reuseport".
#include "trapline_test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static int opt(int fd, int level, int name)
{
	int v = -1;
	socklen_t n = sizeof(v);

	getsockopt(fd, level, name, &v, &n);
	return v;
}

static void set(int fd, int level, int name, int v) { MUST(!setsockopt(fd, level, name, &v, sizeof(v))); }

static int port(int fd)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	if (getsockname(fd, (void *)&ss, &n))
		return -1;
	return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port : ((struct sockaddr_in6 *)&ss)->sin6_port);
}

static int dial(int family, int type, int p)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(p), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(p), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(family, type, 0);

	if (connect(fd, family == AF_INET ? (void *)&in : (void *)&in6, family == AF_INET ? sizeof(in) : sizeof(in6)))
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int a, b, c, d, p, q;
	char buf[64] = "";

	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(mode, "listen4")) {
		a = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		set(a, SOL_SOCKET, SO_REUSEADDR, 1);
		set(a, SOL_SOCKET, SO_KEEPALIVE, 1);
		set(a, IPPROTO_TCP, TCP_NODELAY, 1);
		set(a, IPPROTO_TCP, TCP_KEEPIDLE, 123);
		set(a, SOL_SOCKET, SO_RCVBUF, 50000);
		MUST(!bind(a, (void *)&in, sizeof(in)) && !listen(a, 33));
		p = port(a);
		tt_wait();
		CHECK(port(a) == p, "port %d, expected %d", port(a), p);
		CHECK(opt(a, SOL_SOCKET, SO_ACCEPTCONN) == 1, "not listening");
		CHECK(opt(a, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR is gone");
		CHECK(opt(a, SOL_SOCKET, SO_KEEPALIVE) == 1 && opt(a, IPPROTO_TCP, TCP_KEEPIDLE) == 123, "keep-alive %d %d", opt(a, SOL_SOCKET, SO_KEEPALIVE), opt(a, IPPROTO_TCP, TCP_KEEPIDLE));
		CHECK(opt(a, IPPROTO_TCP, TCP_NODELAY) == 1, "TCP_NODELAY is gone");
		CHECK(opt(a, SOL_SOCKET, SO_RCVBUF) == 100000, "SO_RCVBUF %d", opt(a, SOL_SOCKET, SO_RCVBUF));
		struct tcp_info ti = {0};
		socklen_t n = sizeof(ti);
		getsockopt(a, IPPROTO_TCP, TCP_INFO, &ti, &n);
		CHECK(ti.tcpi_sacked == 33, "backlog %u, expected 33", ti.tcpi_sacked);
		CHECK(accept(a, NULL, NULL) < 0 && errno == EAGAIN, "O_NONBLOCK is gone");
		b = dial(AF_INET, SOCK_STREAM, p);
		struct pollfd pfd = {a, POLLIN, 0};
		poll(&pfd, 1, 10000);
		c = accept(a, NULL, NULL);
		CHECK(b >= 0 && c >= 0 && write(b, "x", 1) == 1 && read(c, buf, 1) == 1, "connect and accept: %s", strerror(errno));
	} else if (!strcmp(mode, "listen6")) {
		a = socket(AF_INET6, SOCK_STREAM, 0);
		set(a, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		if (bind(a, (void *)&in6, sizeof(in6))) { // no IPv6 here
			tt_wait();
			tt_done();
		}
		MUST(!listen(a, 5));
		p = port(a);
		tt_wait();
		CHECK(port(a) == p && opt(a, IPPROTO_IPV6, IPV6_V6ONLY) == 1, "port %d v6only %d", port(a), opt(a, IPPROTO_IPV6, IPV6_V6ONLY));
		b = dial(AF_INET6, SOCK_STREAM, p);
		c = accept(a, NULL, NULL);
		CHECK(b >= 0 && c >= 0 && write(b, "x", 1) == 1 && read(c, buf, 1) == 1, "connect and accept: %s", strerror(errno));
	} else if (!strcmp(mode, "reuseport")) {
		a = socket(AF_INET, SOCK_STREAM, 0);
		b = socket(AF_INET, SOCK_STREAM, 0);
		set(a, SOL_SOCKET, SO_REUSEPORT, 1);
		set(b, SOL_SOCKET, SO_REUSEPORT, 1);
		MUST(!bind(a, (void *)&in, sizeof(in)) && !listen(a, 5));
		in.sin_port = htons(port(a));
		MUST(!bind(b, (void *)&in, sizeof(in)) && !listen(b, 5));
		tt_wait();
		CHECK(port(a) == port(b) && opt(b, SOL_SOCKET, SO_ACCEPTCONN) == 1 && opt(a, SOL_SOCKET, SO_REUSEPORT) == 1, "ports %d %d", port(a), port(b));
		d = dial(AF_INET, SOCK_STREAM, port(a));
		CHECK(d >= 0, "connect: %s", strerror(errno));
	} else if (!strcmp(mode, "udp")) {
		a = socket(AF_INET, SOCK_DGRAM, 0);
		MUST(!bind(a, (void *)&in, sizeof(in)));
		p = port(a);
		b = dial(AF_INET, SOCK_DGRAM, p);
		q = port(b);
		c = socket(AF_INET, SOCK_DGRAM, 0);
		set(c, SOL_SOCKET, SO_BROADCAST, 1);
		tt_wait();
		CHECK(port(a) == p && port(b) == q, "ports %d %d, expected %d %d", port(a), port(b), p, q);
		CHECK(write(b, "datagram", 8) == 8 && read(a, buf, 64) == 8, "a datagram: %s", strerror(errno));
		CHECK(opt(c, SOL_SOCKET, SO_BROADCAST) == 1, "SO_BROADCAST is gone");
		CHECK(port(c) == 0, "a fresh socket is bound to %d", port(c));
	} else if (!strcmp(mode, "unconnected")) {
		a = socket(AF_INET, SOCK_STREAM, 0);
		MUST(!bind(a, (void *)&in, sizeof(in)));
		p = port(a);
		b = socket(AF_INET, SOCK_STREAM, 0);
		set(b, IPPROTO_TCP, TCP_NODELAY, 1);
		c = socket(AF_INET, SOCK_STREAM, 0);
		in.sin_port = 0;
		MUST(!bind(c, (void *)&in, sizeof(in)) && !listen(c, 5));
		tt_wait();
		CHECK(port(a) == p, "port %d, expected %d", port(a), p);
		in.sin_port = htons(port(c));
		CHECK(!connect(b, (void *)&in, sizeof(in)), "the fresh socket can't connect: %s", strerror(errno));
		CHECK(opt(b, IPPROTO_TCP, TCP_NODELAY) == 1, "TCP_NODELAY is gone");
		CHECK(!connect(a, (void *)&in, sizeof(in)), "the bound socket can't connect: %s", strerror(errno));
	} else if (!strcmp(mode, "established")) {
		a = socket(AF_INET, SOCK_STREAM, 0);
		MUST(!bind(a, (void *)&in, sizeof(in)) && !listen(a, 5));
		p = port(a);
		b = dial(AF_INET, SOCK_STREAM, p);
		c = accept(a, NULL, NULL);
		MUST(b >= 0 && c >= 0 && write(b, "lost", 4) == 4);
		tt_wait();
		// A closed connection: an error or the end, and never a hang.
		fcntl(b, F_SETFL, O_NONBLOCK);
		fcntl(c, F_SETFL, O_NONBLOCK);
		ssize_t n = read(c, buf, 10);
		CHECK(n <= 0 && !(n < 0 && errno == EAGAIN), "a read of a closed connection gave %zd: %s", n, strerror(errno));
		n = write(b, "x", 1);
		CHECK(n < 0 && errno != EAGAIN, "a write to a closed connection gave %zd", n);
		d = dial(AF_INET, SOCK_STREAM, p);
		CHECK(d >= 0 && accept(a, NULL, NULL) >= 0, "a new connection: %s", strerror(errno));
	} else
		MUST(!"a known case");
	tt_done();
}
