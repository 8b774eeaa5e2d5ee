// SPDX-License-Identifier: Apache-2.0
// nap SECONDS: one sleep, in one system call; exit status 1 if it was cut short.
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct timespec ts = {argc > 1 ? atol(argv[1]) : 0, 0};

	return clock_nanosleep(CLOCK_REALTIME, 0, &ts, NULL) != 0;
}
