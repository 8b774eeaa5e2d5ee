// SPDX-License-Identifier: Apache-2.0
// A terabyte of addresses that is only reserved, without MAP_NORESERVE: it costs nothing as long as it can't be written.
#include "trapline_test.h"

int main(void)
{
	const size_t tera = 1ull << 40;
	char *p = mmap(NULL, tera, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(p != MAP_FAILED);
	MUST(!mprotect(p + tera / 2, 4096, PROT_READ | PROT_WRITE));
	strcpy(p + tera / 2, "in the middle");
	tt_wait();
	CHECK(!strcmp(p + tera / 2, "in the middle"), "the page in the middle holds %.20s", p + tera / 2);
	CHECK(!mprotect(p, 4096, PROT_READ | PROT_WRITE) && !p[0], "the reservation can't be used");
	tt_done();
}
