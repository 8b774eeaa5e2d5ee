// SPDX-License-Identifier: Apache-2.0
// counter FILE N [MS]: counts to N, one number every MS milliseconds (20), in a register that holds a floating-point number, in
// memory and by the lines of FILE, and says in the end whether the three agree: a program that shows whether it has been stopped,
// written to disk and brought back without harm. It has no terminal and no descriptor but FILE. Its first line is its process id.
#include "trapline_test.h"

int main(int argc, char **argv)
{
	long n = argc > 2 ? atol(argv[2]) : 0, ms = argc > 3 ? atol(argv[3]) : 20, *seen, lines = 0;
	struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
	double sum = 0;
	int fd;
	FILE *f;

	if (n < 1 || ms < 1) {
		fprintf(stderr, "usage: counter FILE N [MS]\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0644);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	setsid();
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
	seen = calloc(n, sizeof(*seen));
	MUST(seen);
	dprintf(1, "pid %d\n", getpid());
	for (long i = 1; i <= n; i++) {
		while (nanosleep(&pause, NULL) && errno == EINTR)
			;
		seen[i - 1] = i;
		sum += i * 0.5;
		dprintf(1, "%ld\n", i);
	}
	for (long i = 0; i < n; i++)
		if (seen[i] != i + 1) {
			dprintf(1, "wrong: number %ld in memory is %ld\n", i + 1, seen[i]);
			return 1;
		}
	if (sum != n * (n + 1) * 0.25) {
		dprintf(1, "wrong: the sum is %g, expected %g\n", sum, n * (n + 1) * 0.25);
		return 1;
	}
	f = fopen(argv[1], "r");
	MUST(f);
	for (char line[64]; fgets(line, sizeof(line), f);)
		if (line[0] != 'p' && atol(line) != ++lines) {
			dprintf(1, "wrong: line %ld is %s", lines, line);
			return 1;
		}
	dprintf(1, lines == n ? "whole: %ld numbers, none is missing\n" : "wrong: %ld lines\n", lines);
	return lines != n;
}
