// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel's own functions, sorted by address. symbols.sh makes the table from what nm says of
 * the kernel linked without it.
 */
#include "kernel.h"

bool symbol_at(unsigned long address, unsigned long *start, size_t *size)
{
	size_t low = 0, high = symbol_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct symbol *symbol = &symbol_table[middle];

		if (address < symbol->address) {
			high = middle;
		} else if (address - symbol->address >= symbol->size) {
			low = middle + 1;
		} else {
			*start = symbol->address;
			*size = symbol->size;
			return true;
		}
	}
	return false;
}

unsigned long symbol_address(const char *name)
{
	size_t i, n;

	for (i = 0; i < symbol_count; i++) {
		const char *other = symbol_table[i].name;

		for (n = 0; name[n] && name[n] == other[n]; n++)
			;
		if (name[n] == other[n])
			return symbol_table[i].address;
	}
	return 0;
}
