// SPDX-License-Identifier: Apache-2.0
// The least program: nothing but itself.
#include "trapline_test.h"

static char data[] = "initialised";

int main(int argc, char **argv)
{
	pid_t pid = getpid();
	char *heap = malloc(100000);
	uint64_t sum = tt_fill(heap, 100000, 1);

	data[0] = 'I';
	tt_wait();
	CHECK(getpid() == pid, "pid %d, expected %d", getpid(), pid);
	CHECK(!strcmp(data, "Initialised"), "data is %s", data);
	CHECK(tt_sum(heap, 100000) == sum, "heap changed");
	CHECK(argc >= 1 && strstr(argv[0], "basic"), "argv[0] is %s", argv[0]);
	tt_done();
}
