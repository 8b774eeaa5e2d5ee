// SPDX-License-Identifier: Apache-2.0
// A program that changed its name, its arguments (as setproctitle does) and what it is called after its executable was
// replaced on disk by a rename.
#include "trapline_test.h"

static void slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = 0;
	close(fd);
}

int main(int argc, char **argv)
{
	char comm[32], before[4096], after[4096], exe0[512] = "", exe1[512] = "";

	MUST(argc >= 2);
	MUST(prctl(PR_SET_NAME, "odd) (name \n") == 0);
	memset(argv[1], 'x', strlen(argv[1]));
	slurp("/proc/self/cmdline", before, sizeof(before));
	MUST(readlink("/proc/self/exe", exe0, sizeof(exe0) - 1) > 0);
	tt_wait();
	CHECK(prctl(PR_GET_NAME, comm) == 0 && !strcmp(comm, "odd) (name \n"), "name is %s", comm);
	slurp("/proc/self/cmdline", after, sizeof(after));
	CHECK(!strcmp(before, after), "cmdline is %s, expected %s", after, before);
	CHECK(argv[1][0] == 'x', "argv[1] is %s", argv[1]);
	CHECK(readlink("/proc/self/exe", exe1, sizeof(exe1) - 1) > 0 && !strcmp(exe0, exe1), "exe is %s, expected %s", exe1, exe0);
	tt_done();
}
