// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"

	"github.com/trapline/trapline/internal/columns"
)

// table is one table: columns, numbers to the right, and rows.
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
	var b strings.Builder
	if t.title != "" {
		b.WriteString("\n" + t.title + "\n")
	}
	columns.Write(&b, t.header, t.right, t.rows)
	_, err := io.WriteString(w, b.String())
	return err
}
