// SPDX-License-Identifier: Apache-2.0
// Limits, umask, working directory, personality, oom_score_adj, parent-death signal, dumpable, THP switch, and more of
// the process that prctl knows. argv[1] = "more" for what CRIU has no field for, "personality" for
// that, which CRIU has one for but does not restore, "fsize" for a tiny file size limit.
#include "trapline_test.h"
#include <sys/personality.h>
#include <sys/resource.h>

static int number(const char *path)
{
	char buf[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (read(fd, buf, sizeof(buf) - 1) < 0)
		buf[0] = 0;
	close(fd);
	return atoi(buf);
}

int main(int argc, char **argv)
{
	struct rlimit want[16], got;
	char cwd[512], now[512];
	int sig = -1, fd, flusher = 0, tsc_set = 0, more = argc > 1 && !strcmp(argv[1], "more"), fsize = argc > 1 && !strcmp(argv[1], "fsize");
	int odd = argc > 1 && !strcmp(argv[1], "personality");
	pid_t pid;

	tt_block_go();
	for (int i = 0; i < 16; i++) {
		MUST(!getrlimit(i, &want[i]));
		if (i == RLIMIT_STACK || i == RLIMIT_AS || i == RLIMIT_DATA || i == RLIMIT_NPROC || i == RLIMIT_CPU || (i == RLIMIT_FSIZE && !fsize))
			continue;
		if (want[i].rlim_cur > 500 + i)
			want[i].rlim_cur = 500 + i;
		if (i % 2 && want[i].rlim_max > 100000 + i)
			want[i].rlim_max = 100000 + i;
		MUST(!setrlimit(i, &want[i]));
	}
	umask(0137);
	MUST(!mkdir("below", 0777) && !chdir("below"));
	MUST(getcwd(cwd, sizeof(cwd)) != NULL);
	MUST(!symlink("../cmd", "cmd") && !symlink("../out", "out"));
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	MUST(write(fd, "123", 3) == 3);
	close(fd);
	MUST(!prctl(PR_SET_PDEATHSIG, SIGWINCH));
	MUST(!prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	if (!more)
		MUST(!prctl(PR_SET_DUMPABLE, 0));
	else {
		MUST(!prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
		tsc_set = !prctl(PR_SET_TSC, PR_TSC_SIGSEGV); // x86 only
		flusher = !prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); // needs CAP_SYS_RESOURCE
	}
	MUST(!odd || personality(ADDR_NO_RANDOMIZE | SHORT_INODE) != -1);
	pid = fork();
	if (!pid) {
		int s = 0;
		prctl(PR_SET_PDEATHSIG, SIGUSR2);
		tt_child_wait();
		prctl(PR_GET_PDEATHSIG, &s);
		_exit(s == SIGUSR2 ? 0 : 1);
	}
	tt_wait();
	for (int i = 0; i < 16; i++) {
		MUST(!getrlimit(i, &got));
		CHECK(got.rlim_cur == want[i].rlim_cur && got.rlim_max == want[i].rlim_max, "limit %d is %lu/%lu, expected %lu/%lu", i, got.rlim_cur, got.rlim_max, want[i].rlim_cur, want[i].rlim_max);
	}
	mode_t m = umask(0);
	CHECK(m == 0137, "umask is %o, expected 137", m);
	CHECK(getcwd(now, sizeof(now)) && !strcmp(now, cwd), "cwd is %s, expected %s", now, cwd);
	CHECK(!odd || personality(0xffffffff) == (ADDR_NO_RANDOMIZE | SHORT_INODE), "personality is %#x", personality(0xffffffff));
	CHECK(number("/proc/self/oom_score_adj") == 123, "oom_score_adj is %d", number("/proc/self/oom_score_adj"));
	CHECK(!prctl(PR_GET_PDEATHSIG, &sig) && sig == SIGWINCH, "parent-death signal is %d", sig);
	CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1, "THP is enabled");
	if (!more)
		CHECK(prctl(PR_GET_DUMPABLE) == 0, "dumpable is %d, expected 0", prctl(PR_GET_DUMPABLE));
	else {
		int tsc = 0;
		CHECK(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_EARLY, "machine check policy is %d", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
		CHECK(!tsc_set || (!prctl(PR_GET_TSC, &tsc) && tsc == PR_TSC_SIGSEGV), "TSC is %d", tsc);
		CHECK(!flusher || prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1, "not an IO flusher any more");
	}
	kill(pid, TT_GO);
	tt_reap(pid, 0);
	tt_done();
}
