// SPDX-License-Identifier: Apache-2.0
// One of many open files is in the queue of a socket too: the same open file must come out.
#include "trapline_test.h"
#include <sys/socket.h>

#define FILES 300

int main(void)
{
	char path[32], byte = 'x', control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int pair[2], fd = -1, got;

	MUST(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "file-%d", i);
		MUST((fd = open(path, O_RDWR | O_CREAT, 0600)) >= 0);
	}
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	MUST(sendmsg(pair[0], &m, 0) == 1);
	tt_wait();
	m.msg_controllen = sizeof(control);
	CHECK(recvmsg(pair[1], &m, 0) == 1 && (h = CMSG_FIRSTHDR(&m)) && h->cmsg_type == SCM_RIGHTS, "no descriptor came: %s", strerror(errno));
	if (!tt_failed) {
		memcpy(&got, CMSG_DATA(h), sizeof(got));
		CHECK(lseek(got, 17, SEEK_SET) == 17 && lseek(fd, 0, SEEK_CUR) == 17, "it is another open file than fd %d", fd);
	}
	tt_done();
}
