// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
)

// results collects what each pair did with each scenario.
type results struct {
	mu   sync.Mutex
	seen map[string]map[string]string // scenario → pair → "yes" or why not
}

func (r *results) add(scenario, pair, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]map[string]string{}
	}
	if r.seen[scenario] == nil {
		r.seen[scenario] = map[string]string{}
	}
	r.seen[scenario][pair] = what
}

// report prints what failed and, with -update, writes the table. Scenarios and pairs that this run left out keep their row.
func (r *results) report(t *testing.T) {
	if !*update {
		return
	}
	root, err := testprog.ModuleRoot()
	if err != nil {
		t.Error(err)
		return
	}
	path := filepath.Join(root, "docs", "compatibility.md")
	old, _ := os.ReadFile(path)
	rows := parseTable(string(old))
	for name, m := range r.seen {
		if rows[name] == nil {
			rows[name] = map[string]string{}
		}
		for p, what := range m {
			rows[name][p] = what
		}
	}
	if err := os.WriteFile(path, []byte(table(rows)), 0o644); err != nil {
		t.Error(err)
	}
}

const compatibilityHead = `# What goes which way

Trapline writes and reads CRIU's image format. This table is made by a test that dumps each program of the test bed with
one engine, restores it with one, and asks the restored program whether it is whole and /proc whether it looks as before:

    go test ./checkpoint -run '^TestE2E$' -update

CRIU is version 4.1.1. "yes" means that the program found nothing wrong. A number refers to the reason below the table.

`

var columns = []string{"trapline-trapline", "trapline-criu", "criu-trapline", "criu-criu"}

// table renders rows as Markdown. Reasons are numbered in order of appearance.
func table(rows map[string]map[string]string) string {
	var b strings.Builder
	b.WriteString(compatibilityHead)
	b.WriteString("| what | Trapline → Trapline | Trapline → CRIU | CRIU → Trapline | CRIU → CRIU |\n| --- | --- | --- | --- | --- |\n")
	var names, reasons []string
	for i := range scenarios {
		names = append(names, scenarios[i].name)
	}
	for _, name := range names {
		m := rows[name]
		if m == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range columns {
			switch what := m[c]; {
			case what == "" || what == "yes":
				fmt.Fprintf(&b, " %s |", what)
			default:
				what = strings.ReplaceAll(what, "|", "/")
				i := slices.Index(reasons, what)
				if i < 0 {
					reasons = append(reasons, what)
					i = len(reasons) - 1
				}
				fmt.Fprintf(&b, " no (%d) |", i+1)
			}
		}
		b.WriteString("\n")
	}
	if len(reasons) > 0 {
		b.WriteString("\n")
	}
	for i, r := range reasons {
		fmt.Fprintf(&b, "%d. %s\n", i+1, r)
	}
	return b.String()
}

// parseTable reads back what table wrote.
func parseTable(text string) map[string]map[string]string {
	rows := map[string]map[string]string{}
	reasons := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if n, reason, ok := strings.Cut(line, ". "); ok && strings.Trim(n, "0123456789") == "" {
			reasons[n] = reason
		}
	}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != len(columns)+3 || !strings.Contains(cells[1], "/") {
			continue
		}
		m := map[string]string{}
		for i, c := range columns {
			cell := strings.TrimSpace(cells[i+2])
			if n, ok := strings.CutPrefix(cell, "no ("); ok {
				cell = reasons[strings.TrimSuffix(n, ")")]
			}
			m[c] = cell
		}
		rows[strings.TrimSpace(cells[1])] = m
	}
	return rows
}
