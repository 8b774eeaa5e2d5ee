// SPDX-License-Identifier: Apache-2.0

// Package columns writes text in columns. It is written here and not taken from a library because the libraries for it
// take longer to load (half a millisecond) than a small dump takes to stop its target.
package columns

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// between is how many blanks stand between two columns.
const between = 2

// Widths gives the width of each column, in characters: that of its widest cell. The header decides how many columns
// there are.
func Widths(header []string, rows [][]string) []int {
	widths := make([]int, len(header))
	for i, c := range header {
		widths[i] = utf8.RuneCountInString(c)
	}
	for _, row := range rows {
		for i, c := range row[:min(len(row), len(widths))] {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	return widths
}

// Total is how wide a line of these columns is, in characters.
func Total(widths []int) int {
	total := between * max(0, len(widths)-1)
	for _, width := range widths {
		total += width
	}
	return total
}

// Write adds the header, a rule and the rows to b. right has a letter a column: r for right, anything else for left.
func Write(b *strings.Builder, header []string, right string, rows [][]string) {
	widths := Widths(header, rows)
	line(b, widths, right, header)
	b.WriteString(strings.Repeat("─", Total(widths)) + "\n")
	for _, row := range rows {
		line(b, widths, right, row)
	}
}

// line writes a row, with no blanks at its end.
func line(b *strings.Builder, widths []int, right string, row []string) {
	blanks := 0
	for i, c := range row[:min(len(row), len(widths))] {
		fill := widths[i] - utf8.RuneCountInString(c)
		if i < len(right) && right[i] == 'r' {
			blanks, fill = blanks+fill, 0
		}
		if c != "" {
			b.WriteString(strings.Repeat(" ", blanks) + c)
			blanks = 0
		}
		blanks += fill + between
	}
	b.WriteByte('\n')
}

// CutMiddle shortens a text to n characters, with … in place of its middle, as both ends of a name tell most.
func CutMiddle(s string, n int) string {
	length := utf8.RuneCountInString(s)
	if length <= n {
		return s
	}
	if n <= 1 {
		return "…"[:min(n, 1)*len("…")]
	}
	r := []rune(s)
	head := n / 2
	return string(r[:head]) + "…" + string(r[length-(n-1-head):])
}

// Printable gives the text with everything that could move a terminal's cursor, or is no text at all, written as an
// escape sequence.
func Printable(s string) string {
	odd := func(r rune) bool { return !strconv.IsPrint(r) }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, odd) {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// Wrap breaks a text at blanks into lines of at most width characters, the later ones indented by indent. A width of 0
// breaks nothing. A word that is longer than a line stands alone and is cut.
func Wrap(s string, width int, indent string) []string {
	if width <= 0 || utf8.RuneCountInString(s) <= width {
		return []string{s}
	}
	var lines []string
	current := ""
	for _, word := range strings.Fields(s) {
		switch {
		case current == "":
			current = word
		case utf8.RuneCountInString(current)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, CutMiddle(current, width))
			current = indent + word
		default:
			current += " " + word
		}
	}
	return append(lines, CutMiddle(current, width))
}
