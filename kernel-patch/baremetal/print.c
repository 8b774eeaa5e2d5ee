// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Text to the console, and the functions that a C compiler takes for granted.
 */
#include "kernel.h"

void print(const char *text)
{
	while (*text)
		print_char(*text++);
}

static void print_base(u64 n, unsigned int base)
{
	char digits[24];
	unsigned int i = 0;

	do {
		digits[i++] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	while (i)
		print_char(digits[--i]);
}

void print_number(s64 n)
{
	if (n < 0)
		print_char('-');
	print_base(n < 0 ? -(u64)n : (u64)n, 10);
}

void print_hex(u64 n)
{
	print("0x");
	print_base(n, 16);
}

void *memset(void *to, int value, size_t n)
{
	unsigned char *byte = to;

	while (n--)
		*byte++ = (unsigned char)value;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	unsigned char *out = to;
	const unsigned char *in = from;

	while (n--)
		*out++ = *in++;
	return to;
}

int memcmp(const void *left, const void *right, size_t n)
{
	const unsigned char *a = left, *b = right;

	for (; n; n--, a++, b++) {
		if (*a != *b)
			return *a - *b;
	}
	return 0;
}
