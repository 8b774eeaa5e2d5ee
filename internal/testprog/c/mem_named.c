// SPDX-License-Identifier: Apache-2.0
// Anonymous maps with names (PR_SET_VMA_ANON_NAME, Linux 5.17).
#include "trapline_test.h"

int main(void)
{
	char line[512];
	char *p = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(p != MAP_FAILED);
	if (prctl(0x53564d41, 0, p + 4096, 3 * 4096, "trapline heap")) {
		MUST(errno == EINVAL); // CONFIG_ANON_VMA_NAME is not set
		tt_wait();
		tt_done();
	}
	p[4096] = 1;
	tt_wait();
	tt_mapline(p + 4096, line, sizeof(line));
	CHECK(strstr(line, "[anon:trapline heap]"), "map is %s", line);
	tt_mapline(p, line, sizeof(line));
	CHECK(!strstr(line, "trapline heap"), "the map before is %s", line);
	CHECK(p[4096] == 1, "contents changed");
	tt_done();
}
