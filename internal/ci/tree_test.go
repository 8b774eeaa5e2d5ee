// SPDX-License-Identifier: Apache-2.0

// Package ci checks what no compiler does: that every source file names its licence and that links between documents lead somewhere.
package ci

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository, seen from this package.
const root = "../.."

// tree calls fn with every file of the repository whose name ends in one of the suffixes.
func tree(t *testing.T, fn func(path string, text []byte), suffixes ...string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == ".git" || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		if !entry.Type().IsRegular() || !slices.Contains(suffixes, filepath.Ext(path)) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fn(path, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// generated is how Go marks generated files.
var generated = regexp.MustCompile(`^// Code generated .* DO NOT EDIT\.$`)

func TestSourcesNameTheirLicence(t *testing.T) {
	seen := 0
	tree(t, func(path string, text []byte) {
		seen++
		first, rest, _ := bytes.Cut(text, []byte("\n"))
		if bytes.HasPrefix(first, []byte("#!")) {
			first, _, _ = bytes.Cut(rest, []byte("\n"))
		}
		if generated.Match(first) {
			return // by a program of others; the licence is that of what it was made from
		}
		if !bytes.Contains(first, []byte("SPDX-License-Identifier: ")) {
			t.Errorf("%s: its first line has no SPDX-License-Identifier: %q", path, first)
		}
	}, ".go", ".s", ".S", ".c", ".cc", ".h", ".sh")
	if seen == 0 {
		t.Error("no source file found")
	}
}

func TestLinksOfDocuments(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	tree(t, func(path string, text []byte) {
		for _, match := range link.FindAllSubmatch(text, -1) {
			target := string(match[1])
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), target)); err != nil {
				t.Errorf("%s: link to %s: %v", path, target, err)
			}
		}
	}, ".md")
}
