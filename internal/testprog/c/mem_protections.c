// SPDX-License-Identifier: Apache-2.0
// Unusual protections: execute-only, write-only, write and execute, and code that runs from them.
#include "trapline_test.h"

#define P 4096

int main(void)
{
#ifdef __riscv
	// li a0, 0x1234; ret
	static const unsigned char code[] = {0x05, 0x65, 0x1b, 0x05, 0x45, 0x23, 0x82, 0x80};
#else
	// mov $0x1234, %eax; ret
	static const unsigned char code[] = {0xb8, 0x34, 0x12, 0, 0, 0xc3};
#endif
	char *x = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *w = mmap(NULL, P, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *wx = mmap(NULL, P, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *sw = mmap(NULL, P, PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char a[256], b[256];

	memcpy(x, code, sizeof(code));
	MUST(!mprotect(x, P, PROT_EXEC));
	memcpy(w, "write-only", 11);
	memcpy(sw, "shared write-only", 18);
	memcpy(wx, code, sizeof(code));
	__builtin___clear_cache(x, x + sizeof(code));
	__builtin___clear_cache(wx, wx + sizeof(code));
	tt_mapline(w, a, sizeof(a));
	tt_wait();
	tt_mapline(w, b, sizeof(b));
	CHECK(!strcmp(a, b), "map is %s, expected %s", b, a);
	tt_mapline(x, b, sizeof(b));
	CHECK(strstr(b, " --xp "), "map is %s, expected --xp", b);
	CHECK(((int (*)(void))x)() == 0x1234, "execute-only code is wrong");
	CHECK(((int (*)(void))wx)() == 0x1234, "writable code is wrong");
	w[100] = 1;
	MUST(!mprotect(w, P, PROT_READ));
	CHECK(!strcmp(w, "write-only") && w[100] == 1, "write-only memory holds %.10s", w);
	MUST(!mprotect(sw, P, PROT_READ));
	CHECK(!strcmp(sw, "shared write-only"), "shared write-only memory holds %.20s", sw);
	tt_done();
}
