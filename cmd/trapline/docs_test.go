// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/trapline/trapline/probes"
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
		name    string
		options []option
		of      func(*option) bool
	}{
		{"taken", options[:], func(o *option) bool { return o.fate == taken && !o.ours }},
		{"ours", options[:], func(o *option) bool { return o.ours }},
		{"noop", options[:], func(o *option) bool { return o.fate == noop }},
		{"refused", options[:], func(o *option) bool { return o.fate == refused }},
		{"probing", probingOptions[:], func(*option) bool { return true }},
		{"profile", profileOptions[:], func(*option) bool { return true }},
	} {
		begin, end := "<!-- "+part.name+": begin -->\n", "<!-- "+part.name+": end -->"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place for %s", docsFile, part.name)
		}
		text = before + begin + optionTable(part.options, part.of) + end + after
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
func optionTable(options []option, of func(*option) bool) string {
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

// TestProbeExamples parses the probes that docs/probes.md shows.
func TestProbeExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/probes.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`'([^']+)'`)
	section, parsed := "", 0
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(name)
		}
		example, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "    ")
		if !ok {
			continue
		}
		var list []string
		if strings.Contains(example, "trapline ") {
			example, _, _ = strings.Cut(example, " jq ")
			for _, m := range quoted.FindAllStringSubmatch(example, -1) {
				list = append(list, m[1])
			}
		} else if section == "Arguments" || section == "Predicates" {
			list = append(list, example)
		}
		for _, probe := range list {
			if probe == "vfs_read fd=%%a0" { // it shows an error
				continue
			}
			if _, err := probes.Parse(probe); err != nil {
				t.Error(err)
			}
			parsed++
		}
	}
	if parsed < 8 {
		t.Errorf("%d examples found, want 8 and more", parsed)
	}
}
