// SPDX-License-Identifier: Apache-2.0
// The vDSO is where it was and works: auxv says so, maps say so, and a call into it gives the time.
#include "trapline_test.h"
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>

static void lines(char *out, size_t size)
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "re");

	out[0] = 0;
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "[vdso]") || strstr(line, "[vvar"))
			strncat(out, line, size - strlen(out) - 1);
	if (f)
		fclose(f);
}

int main(void)
{
	char before[1024], after[1024];
	unsigned long base = getauxval(AT_SYSINFO_EHDR);
	struct timespec a, b, raw;
	struct timeval tv;
	unsigned cpu = 9999;

	lines(before, sizeof(before));
	clock_gettime(CLOCK_MONOTONIC, &a);
	tt_wait();
	lines(after, sizeof(after));
	CHECK(!strcmp(before, after), "maps are\n%s expected\n%s", after, before);
	CHECK(getauxval(AT_SYSINFO_EHDR) == base && !memcmp((void *)base, "\177ELF", 4), "no vDSO at %#lx", base);
	for (int i = 0; i < 1000; i++) {
		CHECK(!clock_gettime(CLOCK_MONOTONIC, &b), "clock_gettime: %s", strerror(errno));
		syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &raw);
		CHECK((raw.tv_sec - b.tv_sec) * 1000000000ll + raw.tv_nsec - b.tv_nsec >= 0, "the vDSO's clock is ahead of the kernel's");
	}
	CHECK(b.tv_sec - a.tv_sec >= 0 && b.tv_sec - a.tv_sec < 600, "the clock jumped by %ld s", (long)(b.tv_sec - a.tv_sec));
	gettimeofday(&tv, NULL);
	CHECK(labs(tv.tv_sec - time(NULL)) < 2, "gettimeofday and time differ");
	CHECK(!getcpu(&cpu, NULL) && cpu < 4096, "getcpu says %u", cpu);
	tt_done();
}
