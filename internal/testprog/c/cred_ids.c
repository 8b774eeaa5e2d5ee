// SPDX-License-Identifier: Apache-2.0
// Uids, gids, groups, capabilities of every set, securebits. argv[1]: "root" keeps privilege, "user" gives it up,
// "mixed" has different real, effective, saved and file system ids, "threads" differs from thread to thread.
#include "trapline_test.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/fsuid.h>

struct ids {
	uid_t u[4];
	gid_t g[4];
	int ngroups;
	gid_t groups[64];
	struct __user_cap_data_struct cap[2];
	uint64_t bound, ambient;
	int securebits, nnp, keep;
};

static void get(struct ids *i)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};

	memset(i, 0, sizeof(*i));
	getresuid(&i->u[0], &i->u[1], &i->u[2]);
	getresgid(&i->g[0], &i->g[1], &i->g[2]);
	i->u[3] = setfsuid(-1);
	i->g[3] = setfsgid(-1);
	i->ngroups = getgroups(64, i->groups);
	syscall(SYS_capget, &h, i->cap);
	for (int c = 0; c < 64; c++) {
		if (prctl(PR_CAPBSET_READ, c) == 1)
			i->bound |= 1ull << c;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1)
			i->ambient |= 1ull << c;
	}
	i->securebits = prctl(PR_GET_SECUREBITS);
	i->nnp = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	i->keep = prctl(PR_GET_KEEPCAPS);
}

static void compare(const char *who, const struct ids *a, const struct ids *b)
{
	for (int k = 0; k < 4; k++) {
		CHECK(a->u[k] == b->u[k], "%s: uid %d is %d, expected %d", who, k, b->u[k], a->u[k]);
		CHECK(a->g[k] == b->g[k], "%s: gid %d is %d, expected %d", who, k, b->g[k], a->g[k]);
	}
	CHECK(a->ngroups == b->ngroups && !memcmp(a->groups, b->groups, sizeof(gid_t) * (a->ngroups > 0 ? a->ngroups : 0)), "%s: %d groups, expected %d", who, b->ngroups, a->ngroups);
	CHECK(!memcmp(a->cap, b->cap, sizeof(a->cap)), "%s: capabilities effective %#x permitted %#x inheritable %#x, expected %#x %#x %#x", who, b->cap[0].effective, b->cap[0].permitted, b->cap[0].inheritable, a->cap[0].effective, a->cap[0].permitted, a->cap[0].inheritable);
	CHECK(a->bound == b->bound, "%s: bounding set %#lx, expected %#lx", who, b->bound, a->bound);
	CHECK(a->ambient == b->ambient, "%s: ambient set %#lx, expected %#lx", who, b->ambient, a->ambient);
	CHECK(a->securebits == b->securebits, "%s: securebits %#x, expected %#x", who, b->securebits, a->securebits);
	CHECK(a->nnp == b->nnp, "%s: no_new_privs %d, expected %d", who, b->nnp, a->nnp);
}

static volatile int set_up, go;

static void *run(void *arg)
{
	struct ids before, after;
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	char who[32];
	long n = (long)arg;

	snprintf(who, sizeof(who), "thread %ld", n);
	syscall(SYS_setresgid, 100 + n, 200 + n, 300 + n);
	MUST(!syscall(SYS_capget, &h, d));
	d[0].effective &= ~(1u << n);
	MUST(!syscall(SYS_capset, &h, d));
	if (n == 2)
		MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	get(&before);
	__atomic_add_fetch(&set_up, 1, __ATOMIC_SEQ_CST);
	while (!go)
		syscall(SYS_futex, &go, FUTEX_WAIT, 0, NULL, NULL, 0);
	get(&after);
	compare(who, &before, &after);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	gid_t many[] = {5, 10, 20, 30, 1000, 100000, 65534};
	struct ids before, after;
	pthread_t th[3];

	if (!strcmp(mode, "root")) {
		MUST(!setgroups(7, many));
		MUST(!prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0));
		MUST(!prctl(PR_CAPBSET_DROP, CAP_WAKE_ALARM, 0, 0, 0));
		MUST(!prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS));
		MUST(!syscall(SYS_capget, &h, d));
		d[0].inheritable = 1 << CAP_NET_RAW | 1 << CAP_CHOWN;
		d[0].effective &= ~(1 << CAP_FOWNER);
		MUST(!syscall(SYS_capset, &h, d));
		MUST(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0));
	} else if (!strcmp(mode, "user")) {
		MUST(!setgroups(2, many) && !setresgid(1001, 1001, 1001) && !setresuid(1000, 1000, 1000));
		MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	} else if (!strcmp(mode, "usercaps")) {
		MUST(!prctl(PR_SET_KEEPCAPS, 1) && !setresuid(1000, 1000, 1000));
		memset(d, 0, sizeof(d));
		d[0].permitted = d[0].effective = d[0].inheritable = 1 << CAP_NET_BIND_SERVICE;
		MUST(!syscall(SYS_capset, &h, d));
		MUST(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
	} else if (!strcmp(mode, "mixed")) {
		MUST(!setgroups(0, NULL) && !setresgid(11, 22, 33));
		setfsgid(44);
		MUST(!setresuid(0, 0, 1003));
		setfsuid(1004);
	} else if (!strcmp(mode, "threads")) {
		for (long i = 0; i < 3; i++)
			MUST(!pthread_create(&th[i], NULL, run, (void *)i));
		while (set_up < 3)
			sched_yield();
	}
	get(&before);
	tt_wait();
	get(&after);
	compare(mode, &before, &after);
	if (!strcmp(mode, "threads")) {
		go = 1;
		syscall(SYS_futex, &go, FUTEX_WAKE, 3, NULL, NULL, 0);
		for (int i = 0; i < 3; i++)
			pthread_join(th[i], NULL);
	}
	tt_done();
}
