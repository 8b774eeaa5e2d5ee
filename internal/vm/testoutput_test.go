// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// describe writes a result and those below it, a line each.
func describe(r *testResult, indent string) []string {
	lines := []string{fmt.Sprintf("%s%s %q %q", indent, r.name, r.outcome, r.output.String())}
	for _, sub := range r.subs {
		lines = append(lines, describe(sub, indent+" ")...)
	}
	return lines
}

func TestOutputOfTests(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
		rest       string
	}{
		{"passes", "\x16=== RUN   TestA\nhello\n\x16--- PASS: TestA (0.01s)\nPASS\n", []string{`TestA "PASS" "hello\n"`}, "PASS\n"},
		{"no newline", "\x16=== RUN   TestA\nhello\x16--- FAIL: TestA (0.01s)\n", []string{`TestA "FAIL" "hello\n"`}, ""},
		{
			"subtests",
			"\x16=== RUN   TestA\n\x16=== RUN   TestA/b\n    a_test.go:1: b says\n\x16=== NAME  TestA\na says\n" +
				"\x16    --- SKIP: TestA/b (0.00s)\n\x16--- PASS: TestA (0.01s)\n",
			[]string{`TestA "PASS" "a says\n"`, ` TestA/b "SKIP" "    a_test.go:1: b says\n"`},
			"",
		},
		{
			"a subtest's name with slashes", "\x16=== RUN   TestA\n\x16=== RUN   TestA/b/c\n\x16    --- PASS: TestA/b/c (0.00s)\n\x16--- PASS: TestA (0.01s)\n",
			[]string{`TestA "PASS" ""`, ` TestA/b/c "PASS" ""`},
			"",
		},
		{
			"parallel",
			"\x16=== RUN   TestA\n\x16=== PAUSE TestA\n\x16=== RUN   TestB\n\x16--- PASS: TestB (0.00s)\n\x16=== CONT  TestA\nlate\n\x16--- PASS: TestA (0.00s)\n",
			[]string{`TestB "PASS" ""`, `TestA "PASS" "late\n"`},
			"",
		},
		{"ends early", "\x16=== RUN   TestA\nexit now", []string{`TestA "" "exit now\n"`}, ""},
		{"looks like a result", "\x16=== RUN   TestA\n--- FAIL: TestB (0.00s)\n\x16--- PASS: TestA (0.00s)\n", []string{`TestA "PASS" "--- FAIL: TestB (0.00s)\n"`}, ""},
		{"markers that are none", "\x16\n\x16=== RUN   \n\x16--- DONE: TestA (0s)\n", nil, "\n--- DONE: TestA (0s)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// However the output is cut into pieces, it means the same.
			for _, size := range []int{1, 7, len(test.text)} {
				var got []string
				output := newTestOutput(func(r *testResult) { got = append(got, describe(r, "")...) })
				for piece := range slices.Chunk([]byte(test.text), size) {
					output.Write(piece)
				}
				rest := output.finish()
				if !slices.Equal(got, test.want) || rest != test.rest {
					t.Errorf("in pieces of %d:\n%s\nrest %q\nwant\n%s\nrest %q", size, strings.Join(got, "\n"), rest, strings.Join(test.want, "\n"), test.rest)
				}
			}
		})
	}
}

func TestConsoleKeepsTheEnd(t *testing.T) {
	guest, c := &Guest{}, &console{log: (&Config{}).logger()}
	guest.console = c
	for i := range 20_000 {
		fmt.Fprintf(c, "[%d] a line of the kernel\r\n", i)
	}
	fmt.Fprint(c, "\x1bc\x1b[2J[1.0] Kernel panic - not syncing: no reason\r\n")
	if got := len(c.text()); got > 2*consoleKept {
		t.Errorf("%d bytes are kept, want at most %d", got, 2*consoleKept)
	}
	if got := c.crash(); got != "[1.0] Kernel panic - not syncing: no reason" {
		t.Errorf("crash: %q", got)
	}
	quoted := guest.quoteConsole()
	if lines := strings.Count(quoted, "a line of the kernel"); lines != consoleTail-1 {
		t.Errorf("%d lines are quoted, want %d:\n%s", lines, consoleTail-1, quoted)
	}
}
