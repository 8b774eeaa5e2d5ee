// SPDX-License-Identifier: Apache-2.0
// Maps of files. argv[1]: "private" (with and without written pages, beyond the end of the file too), "shared",
// "deleted-private", "deleted-shared", "renamed", "offset".
#include "trapline_test.h"

#define P 4096

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int shared = !!strstr(mode, "shared"), deleted = !!strstr(mode, "deleted");
	int fd = open("data", O_RDWR | O_CREAT, 0640);
	static char buf[20 * P], disk[20 * P];
	char *p, *ro;
	uint64_t sum;

	tt_fill(buf, sizeof(buf), 7);
	MUST(write(fd, buf, 20 * P - 100) == 20 * P - 100);
	p = mmap(NULL, 20 * P, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
	ro = mmap(NULL, 5 * P, PROT_READ, shared ? MAP_SHARED : MAP_PRIVATE, fd, 10 * P);
	MUST(p != MAP_FAILED && ro != MAP_FAILED);
	tt_fill(p + 3 * P, 2 * P, 8);
	p[11 * P + 5] = 'w';
	sum = tt_sum(p, 20 * P);
	MUST(!shared || ro[P + 5] == 'w');
	if (!strcmp(mode, "renamed"))
		MUST(!rename("data", "data.renamed"));
	if (deleted)
		MUST(!unlink("data"));
	if (!deleted)
		close(fd);
	tt_wait();
	CHECK(tt_sum(p, 20 * P) == sum, "the map changed");
	CHECK(p[11 * P + 5] == 'w', "a written byte is lost");
	CHECK(ro[P + 5] == (shared ? 'w' : buf[11 * P + 5]), "the second map shows %d", ro[P + 5]);
	if (!deleted) {
		fd = open(!strcmp(mode, "renamed") ? "data.renamed" : "data", O_RDWR);
		CHECK(fd >= 0, "the file is gone: %s", strerror(errno));
	}
	CHECK(pread(fd, disk, 20 * P, 0) == 20 * P - 100, "the file has another size");
	CHECK(!shared == !memcmp(disk, buf, 20 * P - 100), shared ? "the file lacks what was written to the map" : "the file was changed");
	// Still connected: a write to the file shows in pages that are not private copies.
	CHECK(pwrite(fd, "Z", 1, 7 * P) == 1 && p[7 * P] == 'Z', "the map no longer shows the file");
	p[8 * P] = 'Q';
	CHECK(pread(fd, disk, 1, 8 * P) == 1 && (disk[0] == 'Q') == shared, "a store %s the file", shared ? "does not reach" : "reaches");
	tt_done();
}
