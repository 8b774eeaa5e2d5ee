// SPDX-License-Identifier: Apache-2.0
// Regular files and what is like them. argv[1]: "plain" (positions, flags, append), "opath", "directory", "deleted",
// "deleted-dir", "renamed", "hardlink" (the name used is gone, another one exists), "cloexec", "owner", "proc", "many".
#include "trapline_test.h"
#include <dirent.h>
#include <sys/xattr.h>

#define N 1000

static int is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	char buf[4096] = "", want[4096];
	struct stat st, st2;
	int a, b, c, d;

	if (!strcmp(mode, "plain")) {
		a = open("a", O_RDWR | O_CREAT, 0644);
		MUST(write(a, "0123456789", 10) == 10 && lseek(a, 4, SEEK_SET) == 4);
		b = open("a", O_RDONLY);
		MUST(read(b, buf, 7) == 7);
		c = open("log2", O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK, 0600);
		MUST(write(c, "first\n", 6) == 6);
		d = open("sync", O_WRONLY | O_CREAT | O_SYNC | O_NOATIME | O_LARGEFILE, 0600);
		int fl[4] = {fcntl(a, F_GETFL), fcntl(b, F_GETFL), fcntl(c, F_GETFL), fcntl(d, F_GETFL)};
		tt_wait();
		int fds[4] = {a, b, c, d};
		for (int i = 0; i < 4; i++)
			CHECK(fcntl(fds[i], F_GETFL) == fl[i], "descriptor %d: flags %#o, expected %#o", i, fcntl(fds[i], F_GETFL), fl[i]);
		CHECK(lseek(a, 0, SEEK_CUR) == 4, "position %ld, expected 4", (long)lseek(a, 0, SEEK_CUR));
		memset(buf, 0, sizeof(buf));
		CHECK(read(a, buf, 3) == 3 && !strcmp(buf, "456"), "read %s", buf);
		CHECK(read(b, buf, 3) == 3 && !strcmp(buf, "789"), "read %s through the other", buf);
		CHECK(write(c, "second\n", 7) == 7 && lseek(c, 0, SEEK_CUR) == 13, "append: position %ld", (long)lseek(c, 0, SEEK_CUR));
	} else if (!strcmp(mode, "opath")) {
		a = open("a", O_RDWR | O_CREAT, 0644);
		MUST(symlink("a", "link") == 0 && write(a, "x", 1) == 1);
		b = open("a", O_PATH);
		c = open("link", O_PATH | O_NOFOLLOW | O_CLOEXEC);
		d = open(".", O_PATH | O_DIRECTORY);
		fstat(c, &st2);
		tt_wait();
		CHECK(read(b, buf, 1) < 0 && errno == EBADF, "an O_PATH descriptor can be read");
		CHECK(!fstat(b, &st) && S_ISREG(st.st_mode), "O_PATH: not a file");
		CHECK(readlinkat(c, "", buf, sizeof(buf)) == 1 && buf[0] == 'a', "O_PATH of a symbolic link leads to %s: %s", buf, strerror(errno));
		CHECK(!fstatat(d, "a", &st2, 0) && st.st_ino == st2.st_ino, "O_PATH of a directory: %s", strerror(errno));
		CHECK(fcntl(c, F_GETFD) == FD_CLOEXEC, "close-on-exec is gone");
	} else if (!strcmp(mode, "directory")) {
		MUST(!mkdir("dir", 0755));
		for (int i = 0; i < 10; i++) {
			snprintf(buf, sizeof(buf), "dir/f%d", i);
			close(open(buf, O_CREAT | O_WRONLY, 0600));
		}
		a = open("dir", O_RDONLY | O_DIRECTORY);
		tt_wait();
		DIR *dir = fdopendir(dup(a));
		int n = 0;
		for (struct dirent *e; (e = readdir(dir));)
			n += e->d_name[0] == 'f';
		CHECK(n == 10, "%d entries, expected 10", n);
		CHECK(!fstatat(a, "f3", &st, 0), "fstatat: %s", strerror(errno));
	} else if (!strcmp(mode, "deleted")) {
		a = open("gone", O_RDWR | O_CREAT, 0604);
		uint64_t sum;
		static char big[300000];
		sum = tt_fill(big, sizeof(big), 4);
		MUST(write(a, big, sizeof(big)) == sizeof(big) && ftruncate(a, 400000) == 0);
		b = open("gone", O_RDONLY);
		MUST(!fchown(a, 12, 34));
		struct timespec ts[2] = {{1000000, 0}, {2000000, 0}};
		MUST(!futimens(a, ts) && !unlink("gone") && lseek(a, 1000, SEEK_SET) == 1000);
		tt_wait();
		CHECK(!fstat(a, &st) && st.st_size == 400000 && st.st_nlink == 0, "size %ld, %d links", (long)st.st_size, (int)st.st_nlink);
		CHECK((st.st_mode & 07777) == 0604 && st.st_uid == 12 && st.st_gid == 34, "mode %o owner %d:%d", st.st_mode, st.st_uid, st.st_gid);
		CHECK(st.st_mtime == 2000000, "mtime %ld", (long)st.st_mtime);
		CHECK(lseek(a, 0, SEEK_CUR) == 1000, "position %ld", (long)lseek(a, 0, SEEK_CUR));
		CHECK(pread(a, big, sizeof(big), 0) == sizeof(big) && tt_sum(big, sizeof(big)) == sum, "contents differ");
		CHECK(!fstat(b, &st2) && st2.st_ino == st.st_ino, "two descriptors, two files");
		CHECK(access("gone", F_OK) < 0, "the deleted file has its name again");
		CHECK(pwrite(a, "Q", 1, 5) == 1 && pread(b, buf, 1, 5) == 1 && buf[0] == 'Q', "two descriptors do not share");
		DIR *dir = opendir(".");
		for (struct dirent *e; (e = readdir(dir));)
			CHECK(!strstr(e->d_name, "gone") && !strstr(e->d_name, "ghost"), "a leftover: %s", e->d_name);
	} else if (!strcmp(mode, "deleted-dir")) {
		MUST(!mkdir("dir", 0750));
		a = open("dir", O_RDONLY | O_DIRECTORY);
		MUST(!rmdir("dir"));
		tt_wait();
		CHECK(!fstat(a, &st) && S_ISDIR(st.st_mode) && st.st_nlink == 0, "mode %o, %d links", st.st_mode, (int)st.st_nlink);
		CHECK(access("dir", F_OK) < 0, "the removed directory is there again");
	} else if (!strcmp(mode, "renamed")) {
		a = open("before", O_RDWR | O_CREAT, 0644);
		MUST(write(a, "renamed", 7) == 7 && !rename("before", "after it"));
		tt_wait();
		CHECK(pread(a, buf, 7, 0) == 7 && !strcmp(buf, "renamed"), "reads %s", buf);
		CHECK(!fstat(a, &st) && !stat("after it", &st2) && st.st_ino == st2.st_ino, "another file");
		CHECK(access("before", F_OK) < 0, "the old name is back");
	} else if (!strcmp(mode, "hardlink")) {
		a = open("first", O_RDWR | O_CREAT, 0644);
		MUST(write(a, "hard", 4) == 4 && !link("first", "second") && !unlink("first"));
		tt_wait();
		CHECK(!fstat(a, &st) && !stat("second", &st2) && st.st_ino == st2.st_ino && st.st_nlink == 1, "%d links", (int)st.st_nlink);
		CHECK(access("first", F_OK) < 0, "the removed name is back");
	} else if (!strcmp(mode, "cloexec")) {
		a = open("/dev/null", O_RDONLY | O_CLOEXEC);
		b = dup(a);
		c = fcntl(a, F_DUPFD_CLOEXEC, 500);
		MUST(c == 500);
		d = fcntl(b, F_DUPFD, 900);
		tt_wait();
		CHECK(fcntl(a, F_GETFD) == FD_CLOEXEC && fcntl(b, F_GETFD) == 0 && fcntl(c, F_GETFD) == FD_CLOEXEC && fcntl(d, F_GETFD) == 0, "flags %d %d %d %d", fcntl(a, F_GETFD), fcntl(b, F_GETFD), fcntl(c, F_GETFD), fcntl(d, F_GETFD));
		CHECK(!is_open(501) && !is_open(b + 1), "a descriptor more");
		CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0, a, d) == 0, "no longer one open file");
	} else if (!strcmp(mode, "owner")) {
		struct f_owner_ex o = {F_OWNER_PID, getpid()}, now;
		int p[2];
		MUST(!pipe(p));
		MUST(!fcntl(p[0], F_SETOWN_EX, &o) && !fcntl(p[0], F_SETSIG, SIGRTMIN + 4));
		MUST(!fcntl(p[0], F_SETFL, O_ASYNC | O_NONBLOCK));
		sigset_t set;
		sigemptyset(&set);
		sigaddset(&set, SIGRTMIN + 4);
		sigprocmask(SIG_BLOCK, &set, NULL);
		tt_wait();
		CHECK(!fcntl(p[0], F_GETOWN_EX, &now) && now.type == F_OWNER_PID && now.pid == getpid(), "owner type %d pid %d", now.type, now.pid);
		CHECK(fcntl(p[0], F_GETSIG) == SIGRTMIN + 4, "signal %d", fcntl(p[0], F_GETSIG));
		CHECK(fcntl(p[0], F_GETFL) & O_ASYNC, "O_ASYNC is gone");
		siginfo_t si;
		struct timespec ten = {10, 0};
		MUST(write(p[1], "x", 1) == 1);
		CHECK(sigtimedwait(&set, &si, &ten) == SIGRTMIN + 4 && si.si_fd == p[0], "no signal for data");
	} else if (!strcmp(mode, "proc")) {
		a = open("/proc/self/status", O_RDONLY);
		b = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
		c = open("/proc/sys/kernel/ostype", O_RDONLY);
		d = open("/sys/kernel", O_RDONLY | O_DIRECTORY);
		tt_wait();
		snprintf(want, sizeof(want), "Pid:\t%d\n", getpid());
		CHECK(pread(a, buf, 4000, 0) > 0 && strstr(buf, want), "/proc/self/status reads %.100s", buf);
		CHECK(readlinkat(b, "0", buf, sizeof(buf)) > 0, "/proc/self/fd: %s", strerror(errno));
		CHECK(pread(c, buf, 5, 0) == 5 && !strncmp(buf, "Linux", 5), "/proc/sys reads %.5s", buf);
		CHECK(d < 0 || !fstat(d, &st), "/sys: %s", strerror(errno));
	} else if (!strcmp(mode, "many")) {
		static int fds[N];
		MUST(!mkdir("many", 0755));
		for (int i = 0; i < N; i++) {
			snprintf(buf, sizeof(buf), "many/%d", i);
			fds[i] = open(buf, O_RDWR | O_CREAT, 0600);
			MUST(fds[i] >= 0 && write(fds[i], &i, sizeof(i)) == sizeof(i));
		}
		tt_wait();
		for (int i = 0; i < N; i++) {
			int v = -1;
			CHECK(lseek(fds[i], 0, SEEK_CUR) == sizeof(i) && pread(fds[i], &v, sizeof(v), 0) == sizeof(v) && v == i, "file %d reads %d", i, v);
		}
	} else
		MUST(!"a known case");
	tt_done();
}
