// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// executed is what programs/execute.c counts. native, moved and simulated are runs.
type executed struct {
	words, native, moved, simulated, skipped, failures int
}

// execute runs instructions on a RISC-V processor, and in the engine, and compares.
func execute(t *testing.T, sets int, args ...string) executed {
	t.Helper()
	args = append([]string{executeProgram.build(t), seed, fmt.Sprint(sets)}, args...)
	output := run(t, nil, "qemu-riscv64", args...)
	var n executed
	if _, err := fmt.Sscanf(string(output), "words %d native %d moved %d simulated %d skipped %d failures %d",
		&n.words, &n.native, &n.moved, &n.simulated, &n.skipped, &n.failures); err != nil {
		t.Fatalf("%q: %v", output, err)
	}
	t.Logf("%s", output)
	return n
}

// Every 16-bit encoding that the engine accepts.
func TestExecuteEvery16BitEncoding(t *testing.T) {
	n := execute(t, setsOf(3, 1), "compressed")
	if n.words != 3<<14 || n.native < 45000 || n.simulated < 20000 {
		t.Errorf("too few were executed: %+v", n)
	}
}

// Random encodings of every instruction in the engine's table.
func TestExecuteRandomEncodings(t *testing.T) {
	n := execute(t, 2, "random", fmt.Sprint(setsOf(400, 50)))
	if n.native < n.words || n.simulated < n.words/2 {
		t.Errorf("too few were executed: %+v", n)
	}
}

// Every distinct instruction of a kernel that the engine accepts.
func TestExecuteKernel(t *testing.T) {
	words := kernelWords(t)
	var raw []byte
	for _, word := range words {
		raw = binary.LittleEndian.AppendUint32(raw, word)
	}
	path := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	n := execute(t, 1, path)
	if n.words != len(words) || n.native < len(words)*9/10 || n.moved < n.native*9/10 {
		t.Errorf("too few were executed: %+v", n)
	}
}

// setsOf is the first, or with -short the second.
func setsOf(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}
