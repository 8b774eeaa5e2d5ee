#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# symbols.sh NM KERNEL: the functions of a linked kernel as an assembler source for symbols.c. With no kernel: an empty table.
set -e

echo '	.section .symbols, "aw"'
echo '	.balign 8'
echo '	.globl symbol_table'
echo 'symbol_table:'
if [ -n "${2:-}" ]; then
	"$1" -n -S --defined-only "$2" | awk '
		$3 ~ /^[tT]$/ { n++; printf "\t.dword 0x%s, 0x%s, 9f + %d\n", $1, $2, at; at += length($4) + 1; name[n] = $4 }
		END {
			print "\t.globl symbol_count\nsymbol_count:\n\t.dword " n "\n9:"
			for (i = 1; i <= n; i++) printf "\t.asciz \"%s\"\n", name[i]
		}'
else
	printf '\t.globl symbol_count\nsymbol_count:\n\t.dword 0\n'
fi
