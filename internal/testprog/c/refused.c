// SPDX-License-Identifier: Apache-2.0
// A process with one thing that can't be checkpointed, named by argv[1]. It checks that a dump that was refused did not
// touch it: it counts in a thread, sleeps in system calls, and the thing still works.
#include "trapline_test.h"
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>

static volatile long turns;
static volatile int stop, slept_wrong;

static void *spin(void *arg)
{
	while (!stop)
		turns++;
	return NULL;
}

static void *sleeper(void *arg)
{
	struct timespec ts = {0, 1000000};

	while (!stop)
		if (nanosleep(&ts, NULL))
			slept_wrong = errno;
	return NULL;
}

static int tcp(int connected, int *listener)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(in);
	int a = socket(AF_INET, SOCK_STREAM, 0), b = socket(AF_INET, SOCK_STREAM, 0);

	MUST(!bind(a, (void *)&in, n) && !listen(a, 5) && !getsockname(a, (void *)&in, &n) && !connect(b, (void *)&in, n));
	*listener = a;
	if (connected) {
		int c = accept(a, NULL, NULL);
		close(a);
		return c;
	}
	return b;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	pthread_t a, b;
	int fd = -1, other = -1, unsupported = 0;
	pid_t kid = 0;
	void *p = NULL;

	tt_block_go();
	if (!strcmp(mode, "io_uring")) {
		unsigned params[30] = {0};
		fd = syscall(425, 4, params);
	} else if (!strcmp(mode, "terminal")) {
		fd = posix_openpt(O_RDWR | O_NOCTTY);
		MUST(fd >= 0 && !grantpt(fd) && !unlockpt(fd));
		other = open(ptsname(fd), O_RDWR | O_NOCTTY);
		MUST(other >= 0);
	} else if (!strcmp(mode, "perf")) {
		struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr), .config = PERF_COUNT_SW_TASK_CLOCK};
		fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	} else if (!strcmp(mode, "bpf")) {
		union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
		fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	} else if (!strcmp(mode, "userfaultfd"))
		fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	else if (!strcmp(mode, "inotify")) {
		fd = inotify_init1(IN_CLOEXEC);
		MUST(inotify_add_watch(fd, ".", IN_CREATE) >= 0);
	} else if (!strcmp(mode, "fanotify"))
		fd = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY);
	else if (!strcmp(mode, "pidfd"))
		fd = syscall(SYS_pidfd_open, getpid(), 0);
	else if (!strcmp(mode, "packet"))
		fd = socket(AF_PACKET, SOCK_RAW, 0);
	else if (!strcmp(mode, "raw"))
		fd = socket(AF_INET, SOCK_RAW, 1);
	else if (!strcmp(mode, "vsock"))
		fd = socket(40, SOCK_STREAM, 0);
	else if (!strcmp(mode, "tcp"))
		fd = tcp(1, &other);
	else if (!strcmp(mode, "tcp_backlog"))
		fd = tcp(0, &other);
	else if (!strcmp(mode, "lock")) {
		fd = open("locked", O_RDWR | O_CREAT, 0600);
		MUST(!flock(fd, LOCK_EX));
	} else if (!strcmp(mode, "posix_lock")) {
		struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
		fd = open("locked", O_RDWR | O_CREAT, 0600);
		MUST(!fcntl(fd, F_SETLK, &l));
	} else if (!strcmp(mode, "hardlink")) {
		fd = open("first", O_RDWR | O_CREAT, 0600);
		MUST(!link("first", "second") && !unlink("first"));
	} else if (!strcmp(mode, "secret")) {
		fd = syscall(447, 0);
		if (fd >= 0) {
			MUST(!ftruncate(fd, 8192));
			p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			close(fd);
			unsupported = p == MAP_FAILED;
			if (!unsupported)
				*(char *)p = 5;
		}
		unsupported |= fd < 0;
		fd = 0;
	} else if (!strcmp(mode, "aio")) {
		unsigned long ctx = 0;
		unsupported = syscall(SYS_io_setup, 8, &ctx) != 0;
		fd = 0;
	} else if (!strcmp(mode, "ptrace")) {
		kid = fork();
		if (!kid) {
			tt_child_wait();
			_exit(0);
		}
		MUST(!ptrace(PTRACE_SEIZE, kid, 0, 0));
		fd = 0;
	} else if (!strcmp(mode, "mount_ns") || !strcmp(mode, "net_ns") || !strcmp(mode, "uts_ns") || !strcmp(mode, "ipc_ns") || !strcmp(mode, "user_ns") || !strcmp(mode, "cgroup_ns") || !strcmp(mode, "pid_ns")) {
		static const struct { const char *name; int flag; } ns[] = {
			{"mount_ns", CLONE_NEWNS}, {"net_ns", CLONE_NEWNET}, {"uts_ns", CLONE_NEWUTS}, {"ipc_ns", CLONE_NEWIPC},
			{"user_ns", CLONE_NEWUSER}, {"cgroup_ns", CLONE_NEWCGROUP}, {"pid_ns", CLONE_NEWPID},
		};
		for (int i = 0; i < 7; i++)
			if (!strcmp(mode, ns[i].name) && ns[i].flag != CLONE_NEWPID)
				unsupported = unshare(ns[i].flag) != 0;
		if (!strcmp(mode, "pid_ns")) {
			kid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
			MUST(kid >= 0);
			if (!kid) {
				tt_child_wait();
				_exit(0);
			}
		}
		fd = 0;
	} else
		MUST(!"a known case");
	if (fd < 0 || unsupported) {
		tt_say("unsupported\n"); // by this kernel: nothing to refuse
		_exit(0);
	}
	MUST(!(errno = pthread_create(&a, NULL, spin, NULL)) && !(errno = pthread_create(&b, NULL, sleeper, NULL)));
	tt_wait();
	long before = turns;
	while (turns == before)
		sched_yield();
	stop = 1;
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	CHECK(!slept_wrong, "nanosleep: %s", strerror(slept_wrong));
	if (fd > 0)
		CHECK(fcntl(fd, F_GETFD) >= 0, "descriptor %d is gone", fd);
	if (p)
		CHECK(*(char *)p == 5, "secret memory changed");
	if (!strcmp(mode, "terminal"))
		CHECK(write(fd, "a", 1) == 1, "the terminal: %s", strerror(errno));
	if (kid) {
		kill(kid, TT_GO);
		int st = -1;
		// A tracer sees the signal first and has to pass it on.
		while (waitpid(kid, &st, __WALL) == kid && WIFSTOPPED(st))
			ptrace(PTRACE_CONT, kid, 0, WSTOPSIG(st));
		CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 0, "the child ended with %#x", st);
	}
	tt_done();
}
