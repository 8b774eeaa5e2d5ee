// SPDX-License-Identifier: Apache-2.0

package columns

import (
	"slices"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	var b strings.Builder
	Write(&b, []string{"NAME", "N", "WHAT"}, "lrl", [][]string{{"a", "1000", "x"}, {"größer", "7", ""}, {"b"}})
	want := "" +
		"NAME       N  WHAT\n" +
		"──────────────────\n" +
		"a       1000  x\n" +
		"größer     7\n" +
		"b\n"
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestCutMiddle(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: "…", 2: "v…", 5: "vf…te", 8: "vfs_…ite", 9: "vfs_write", 20: "vfs_write"} {
		if got := CutMiddle("vfs_write", n); got != want {
			t.Errorf("to %d: got %q, want %q", n, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{"plain ü \"q\"": "plain ü \"q\"", "a\x1b[31m\n": `a\x1b[31m\n`, "\xff\"": `\xff"`} {
		if got := Printable(s); got != want {
			t.Errorf("Printable(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		width int
		want  []string
	}{
		{0, []string{"some words to break overlongword"}},
		{40, []string{"some words to break overlongword"}},
		{11, []string{"some words", "  to break", "  ove…gword"}},
	} {
		if got := Wrap("some words to break overlongword", c.width, "  "); !slices.Equal(got, c.want) {
			t.Errorf("at %d: got %q, want %q", c.width, got, c.want)
		}
	}
}
