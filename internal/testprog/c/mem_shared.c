// SPDX-License-Identifier: Apache-2.0
// Memory that several processes share and still share after: anonymous, memfd (sealed too), a file, SysV; with
// argv[1] = "anon", "memfd", "sealed", "file", "sysv", "devshm". The second half is mapped by the child alone.
#include "trapline_test.h"
#include <sched.h>
#include <sys/shm.h>

#define P 4096
#define PAGES 64

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#endif

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	volatile char *p = MAP_FAILED, *again = NULL;
	volatile int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = -1, id = -1;
	uint64_t sum;
	pid_t kids[2];

	tt_block_go();
	if (!strcmp(mode, "anon"))
		p = mmap(NULL, PAGES * P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	else if (!strcmp(mode, "sysv")) {
		id = shmget(IPC_PRIVATE, PAGES * P, IPC_CREAT | 0600);
		MUST(id >= 0);
		p = shmat(id, NULL, 0);
		again = shmat(id, NULL, SHM_RDONLY);
	} else {
		if (!strcmp(mode, "memfd"))
			fd = memfd_create("shared thing", MFD_CLOEXEC);
		else if (!strcmp(mode, "sealed"))
			fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		else if (!strcmp(mode, "file"))
			fd = open("shared-file", O_RDWR | O_CREAT, 0600);
		else if (!strcmp(mode, "devshm")) {
			char name[64];
			snprintf(name, sizeof(name), "/dev/shm/trapline-test-%d", getpid());
			fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
			unlink(name);
		}
		MUST(fd >= 0 && !ftruncate(fd, PAGES * P));
		p = mmap(NULL, PAGES * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		again = mmap(NULL, PAGES * P, PROT_READ, MAP_SHARED, fd, 0);
	}
	MUST(p != MAP_FAILED);
	tt_fill((void *)p, PAGES * P / 2, 3);
	if (!strcmp(mode, "sealed"))
		MUST(!fcntl(fd, F_ADD_SEALS, 1 | 2 | 4)); // no more seals, no shrinking, no growing
	for (int i = 0; i < 2; i++) {
		kids[i] = fork();
		if (!kids[i]) {
			if (i == 1) { // only a part, from elsewhere
				munmap((void *)p, PAGES * P / 2);
			}
			__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
			tt_child_wait();
			p[PAGES * P - 1 - i] += 5; // sees the parent's store, adds to it
			_exit(0);
		}
	}
	while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < 2)
		sched_yield();
	sum = tt_sum((void *)p, PAGES * P);
	tt_wait();
	CHECK(tt_sum((void *)p, PAGES * P) == sum, "contents changed");
	p[PAGES * P - 1] = 10;
	p[PAGES * P - 2] = 20;
	for (int i = 0; i < 2; i++) {
		kill(kids[i], TT_GO);
		tt_reap(kids[i], 0);
		CHECK(p[PAGES * P - 1 - i] == 10 * (i + 1) + 5, "child %d no longer shares: %d, expected %d", i, p[PAGES * P - 1 - i], 10 * (i + 1) + 5);
	}
	if (again) {
		p[100] = 'x';
		CHECK(again[100] == 'x', "two maps of one process no longer share");
	}
	if (fd >= 0) {
		char c = 0;
		CHECK(pread(fd, &c, 1, PAGES * P - 2) == 1 && c == 25, "the descriptor reads %d, expected 25", c);
		struct stat st;
		CHECK(!fstat(fd, &st) && st.st_size == PAGES * P, "size is %ld", (long)st.st_size);
	}
	if (!strcmp(mode, "sealed")) {
		CHECK(fcntl(fd, F_GET_SEALS) == 7, "seals are %d, expected 7", fcntl(fd, F_GET_SEALS));
		CHECK(ftruncate(fd, P) < 0 && errno == EPERM, "a sealed memfd can be cut");
	}
	if (id >= 0) {
		struct shmid_ds ds;
		CHECK(!shmctl(id, IPC_STAT, &ds) && ds.shm_nattch == 2, "SysV id %d: %s, attached %d times", id, strerror(errno), (int)ds.shm_nattch);
		shmctl(id, IPC_RMID, NULL);
	}
	tt_done();
}
