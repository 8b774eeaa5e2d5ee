// SPDX-License-Identifier: Apache-2.0
// Advice and locks, seen in VmFlags: mlock, mlock on fault, huge page, no huge page, DONTFORK, WIPEONFORK, DONTDUMP,
// sequential, random, mergeable, grows-down, no reserve. argv[1] chooses one.
#include "trapline_test.h"

#define SIZE (64 * 4096)

int main(int argc, char **argv)
{
	static const struct { const char *name; int advice, mapflags; const char *flag; } cases[] = {
		{"hugepage", MADV_HUGEPAGE, 0, "hg"}, {"nohugepage", MADV_NOHUGEPAGE, 0, "nh"}, {"dontfork", MADV_DONTFORK, 0, "dc"},
		{"wipeonfork", MADV_WIPEONFORK, 0, "wf"}, {"dontdump", MADV_DONTDUMP, 0, "dd"}, {"sequential", MADV_SEQUENTIAL, 0, "sr"},
		{"random", MADV_RANDOM, 0, "rr"}, {"mergeable", MADV_MERGEABLE, 0, "mg"}, {"growsdown", -1, MAP_GROWSDOWN, "gd"},
		{"noreserve", -1, MAP_NORESERVE, "nr"}, {"mlock", -1, 0, "lo"}, {"onfault", -1, 0, "lo"}, {"lockall", -1, 0, "lo"},
	};
	const char *name = argc > 1 ? argv[1] : "";
	char *p, *q;
	uint64_t sum;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(name, cases[i].name))
			continue;
		p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | cases[i].mapflags, -1, 0);
		MUST(p != MAP_FAILED);
		if (cases[i].advice >= 0 && madvise(p, SIZE, cases[i].advice)) {
			MUST(errno == EINVAL); // KSM is a kernel option
			tt_wait();
			tt_done();
		}
		if (!strcmp(name, "mlock"))
			MUST(!mlock(p, SIZE));
		if (!strcmp(name, "onfault"))
			MUST(!mlock2(p, SIZE, MLOCK_ONFAULT));
		if (!strcmp(name, "lockall"))
			MUST(!mlockall(MCL_CURRENT | MCL_FUTURE));
		sum = tt_fill(p, SIZE, i);
		MUST(tt_has(p, cases[i].flag));
		tt_wait();
		CHECK(tt_sum(p, SIZE) == sum, "contents changed");
		CHECK(tt_has(p, cases[i].flag), "flag %s is gone", cases[i].flag);
		if (!strcmp(name, "lockall")) {
			q = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			CHECK(tt_has(q, "lo"), "a new map is not locked: MCL_FUTURE is gone");
		}
		if (!strcmp(name, "dontfork") || !strcmp(name, "wipeonfork")) {
			pid_t pid = fork();
			if (!pid) {
				if (!strcmp(name, "dontfork"))
					_exit(msync(p, 4096, MS_ASYNC) < 0 && errno == ENOMEM ? 0 : 1);
				_exit(p[0] == 0 && p[SIZE - 1] == 0 ? 0 : 1);
			}
			tt_reap(pid, 0);
		}
		tt_done();
	}
	MUST(!"a known case");
}
