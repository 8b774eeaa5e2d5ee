// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A ParseError says what Parse did not understand, and where.
type ParseError struct {
	Text string // what was parsed
	Pos  int    // byte offset in Text of the first character that is wrong; len(Text) if something is missing at the end
	Msg  string // what is wrong
	Hint string // what to write instead; may be empty
}

// Error gives the message in one line, with the column counted in characters from 1.
func (e *ParseError) Error() string {
	s := fmt.Sprintf("probe %q: column %d: %s", shorten(e.Text, 100), e.column()+1, e.Msg)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Detail gives the text, a line with a caret under the wrong character, and the message. No line ends in a newline
// but those between them.
func (e *ParseError) Detail() string {
	// A caret can only stand right below if each character takes one column.
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, e.Text)
	s := line + "\n" + strings.Repeat(" ", e.column()) + "^ " + e.Msg
	if e.Hint != "" {
		s += "\n" + e.Hint
	}
	return s
}

// column is how many characters stand before Pos.
func (e *ParseError) column() int {
	return utf8.RuneCountInString(e.Text[:min(max(e.Pos, 0), len(e.Text))])
}

// shorten cuts a text at its end so that it has at most n bytes and no half character.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
