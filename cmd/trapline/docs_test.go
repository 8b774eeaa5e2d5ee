// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/cli.md anew")

const docsFile = "../../docs/cli.md"

// TestDocs checks that the tables of docs/cli.md are those of the options. To write them anew:
//
//	go test ./cmd/trapline -run TestDocs -update
func TestDocs(t *testing.T) {
	old, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(old)
	for _, part := range []struct {
		name string
		of   func(*option) bool
	}{
		{"taken", func(o *option) bool { return o.fate == taken && !o.ours }},
		{"ours", func(o *option) bool { return o.ours }},
		{"noop", func(o *option) bool { return o.fate == noop }},
		{"refused", func(o *option) bool { return o.fate == refused }},
	} {
		begin, end := "<!-- "+part.name+": begin -->\n", "<!-- "+part.name+": end -->"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place for %s", docsFile, part.name)
		}
		text = before + begin + optionTable(part.of) + end + after
	}
	if *update {
		if err := os.WriteFile(docsFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != string(old) {
		t.Errorf("%s does not say what the options are; run this test with -update", docsFile)
	}
}

// optionTable makes a table in Markdown.
func optionTable(of func(*option) bool) string {
	var b strings.Builder
	b.WriteString("| option | commands | |\n| --- | --- | --- |\n")
	for i := range options {
		o := &options[i]
		if !of(o) {
			continue
		}
		letter := ""
		if o.short != "" {
			letter = "`-" + o.short + "` "
		}
		cmds := o.cmds.String()
		if o.cmds == cmdAny|cmdImages {
			cmds = "all"
		}
		fmt.Fprintf(&b, "| %s`--%s` | %s | %s |\n", letter, strings.ReplaceAll(o.form(), "|", `\|`), cmds, strings.ReplaceAll(o.note, "|", `\|`))
	}
	return b.String()
}
