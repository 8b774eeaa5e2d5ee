// SPDX-License-Identifier: Apache-2.0
// A root directory of its own, with the working directory below it and a file open in it.
#include "trapline_test.h"

int main(void)
{
	struct stat root, now;
	char buf[16] = "", cwd[512] = "";
	int fd;

	MUST(!mkdir("newroot", 0755) && !mkdir("newroot/sub", 0755));
	MUST(!link("cmd", "newroot/cmd") && !link("out", "newroot/out"));
	MUST(!link("cmd", "newroot/sub/cmd") && !link("out", "newroot/sub/out"));
	fd = open("newroot/file", O_RDWR | O_CREAT, 0644);
	MUST(write(fd, "in the root", 11) == 11);
	MUST(!stat("newroot", &root));
	MUST(!chroot("newroot") && !chdir("/sub"));
	tt_wait();
	CHECK(!stat("/", &now) && now.st_ino == root.st_ino && now.st_dev == root.st_dev, "another root");
	CHECK(getcwd(cwd, sizeof(cwd)) && !strcmp(cwd, "/sub"), "cwd is %s", cwd);
	CHECK(pread(fd, buf, 11, 0) == 11 && !strcmp(buf, "in the root"), "the file reads %s", buf);
	CHECK(access("/etc/passwd", F_OK) < 0, "/etc/passwd is reachable");
	tt_done();
}
