// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is one table: columns, numbers to the right, and rows. It is written here and not by a library because the
// libraries for it take longer to load (half a millisecond) than a small dump takes to stop its target.
type table struct {
	title  string
	header []string
	right  string // a letter a column: r for right, anything else for left
	rows   [][]string
}

func (t *table) add(cells ...string) {
	for i, c := range cells {
		cells[i] = printable(c)
	}
	t.rows = append(t.rows, cells)
}

// write prints the table below its title; nothing if it has no rows.
func (t *table) write(w io.Writer) error {
	if len(t.rows) == 0 {
		return nil
	}
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, c := range row[:min(len(row), len(widths))] {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	if t.title != "" {
		fmt.Fprintf(&b, "\n%s\n", t.title)
	}
	t.line(&b, widths, t.header)
	total := 2 * (len(widths) - 1)
	for _, width := range widths {
		total += width
	}
	b.WriteString(strings.Repeat("─", total) + "\n")
	for _, row := range t.rows {
		t.line(&b, widths, row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line writes a row: two blanks between columns, none at its end.
func (t *table) line(b *strings.Builder, widths []int, row []string) {
	blanks := 0
	for i, c := range row[:min(len(row), len(widths))] {
		fill := widths[i] - utf8.RuneCountInString(c)
		if i < len(t.right) && t.right[i] == 'r' {
			blanks, fill = blanks+fill, 0
		}
		if c != "" {
			b.WriteString(strings.Repeat(" ", blanks) + c)
			blanks = 0
		}
		blanks += fill + 2
	}
	b.WriteByte('\n')
}
