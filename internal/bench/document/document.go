// SPDX-License-Identifier: Apache-2.0

// Package document keeps the reports of several benchmarks in one file, each below a heading of its own.
package document

import (
	"errors"
	"os"
	"strings"
)

// Replace puts a report in place of the one with the same heading ("# What it is"), or behind all others. The report ends with the file,
// or at the next heading like it.
func Replace(file, heading, report string) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	report = heading + "\n\n" + strings.TrimSpace(report) + "\n"
	return os.WriteFile(file, []byte(replace(string(old), heading, report)), 0o644)
}

func replace(old, heading, report string) string {
	var parts []string
	found := false
	for i, part := range strings.Split("\n"+old, "\n# ") {
		part = strings.TrimSpace(part)
		if i > 0 {
			part = "# " + part
		}
		if first, _, _ := strings.Cut(part, "\n"); first == heading {
			part, found = report, true
		}
		if part != "" {
			parts = append(parts, strings.TrimSpace(part)+"\n")
		}
	}
	if !found {
		parts = append(parts, report)
	}
	return strings.Join(parts, "\n")
}
