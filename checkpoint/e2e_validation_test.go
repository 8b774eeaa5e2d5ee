// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
)

// TestE2EFileValidation changes a program between dump and restore without changing its size: its build ID tells, unless
// only sizes count.
func TestE2EFileValidation(t *testing.T) {
	if !here(t) {
		return
	}
	code, err := os.ReadFile(mustBuild(t, "basic"))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "basic")
	if err := os.WriteFile(program, code, 0o755); err != nil {
		t.Fatal(err)
	}
	tgt := testprog.Start(t, program, nil, nil)
	tgt.Ready()
	images := dumped(t, tgt)
	changed := bytes.Clone(code)
	changed[buildIDOffset(t, program)] ^= 1
	if err := os.WriteFile(program, changed, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := testprog.Trapline().Restore(tgt.Dir, images); err == nil || !strings.Contains(err.Error(), "another build") {
		t.Fatalf("restored from another build of the program: %v", err)
	}
	restored(t, tgt, images, "--file-validation", "filesize")
}

// buildIDOffset finds the last byte of a program's build ID.
func buildIDOffset(t *testing.T, name string) uint64 {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Section(".note.gnu.build-id")
	if s == nil {
		t.Fatalf("%s has no build ID", name)
	}
	return s.Offset + s.Size - 1
}
