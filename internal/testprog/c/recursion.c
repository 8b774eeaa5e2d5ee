// SPDX-License-Identifier: Apache-2.0
//
// A program for uprobes: functions that call themselves, that are left by longjmp, and that take a known time.
//
//	recursion DEPTH CALLS LEAPS SPINS MICROSECONDS
//
// flags: -O1 -Wno-infinite-recursion -fno-inline -fno-optimize-sibling-calls -fno-ipa-cp -fno-ipa-icf
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static jmp_buf back;
static char name[] = "World";
volatile unsigned long sink;

__attribute__((noinline)) unsigned long recurse(unsigned long n)
{
	return n <= 1 ? 1 : recurse(n - 1) + sink;
}

__attribute__((noinline)) void leap(long n)
{
	sink++;
	if (n)
		longjmp(back, 1);
}

/* Leaves all the calls that it makes at once. */
__attribute__((noinline)) void dive(long n)
{
	if (!n)
		longjmp(back, 1);
	dive(n - 1);
	sink++;
}

__attribute__((noinline)) void greet(const char *name, int times)
{
	sink += times + name[0];
}

/* Lasts as long as it is told, by its own clock: the time that it says it took is at most what a probe can see. */
__attribute__((noinline)) unsigned long spin(unsigned long ns)
{
	struct timespec a, b;
	unsigned long took;

	clock_gettime(CLOCK_MONOTONIC, &a);
	do {
		clock_gettime(CLOCK_MONOTONIC, &b);
		took = (b.tv_sec - a.tv_sec) * 1000000000ul + b.tv_nsec - a.tv_nsec;
	} while (took < ns);
	return took;
}

int main(int argc, char **argv)
{
	unsigned long took = 0;

	if (argc != 6)
		return 2;
	for (long i = 0; i < atol(argv[2]); i++)
		sink = recurse(atol(argv[1])) & 1;
	for (volatile long i = 0; i < atol(argv[3]); i++)
		if (!setjmp(back))
			leap(1);
	leap(0);
	for (volatile long i = 0; i < atol(argv[3]); i++)
		if (!setjmp(back))
			dive(5);
	name[0] = 'w'; /* a probe reads only what is in memory already */
	greet(name, 7);
	for (long i = 0; i < atol(argv[4]); i++)
		took += spin(atol(argv[5]) * 1000);
	printf("%lu\n", took);
	return 0;
}
