// SPDX-License-Identifier: Apache-2.0

//go:build linux

package profile

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const cgoProgram = `package main

// int one(void) { return 1; }
import "C"

//go:noinline
func stage() int { return int(C.one()) }

func main() { println(stage()) }
`

// TestGoPrograms: where a function begins is what the linker's symbol says, with C code in front of Go's and without; what can't be told
// is refused, as a probe some bytes off would break the program.
func TestGoPrograms(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("main.go", []byte(cgoProgram))
	write("go.mod", []byte("module stages\n\ngo 1.22\n"))
	build := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command("go", append([]string{"build", "-o", name}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return filepath.Join(dir, name)
	}
	var want, text uint64
	named := build("named", "-ldflags", "-linkmode=external")
	f, err := elf.Open(named)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		switch s.Name {
		case "main.stage":
			want = s.Value
		case "runtime.text":
			text = s.Value
		}
	}
	if want == 0 || text == f.Section(".text").Addr {
		t.Fatalf("main.stage at %#x, Go's text at %#x: not a program with C code in front", want, text)
	}
	expect := func(path string) {
		t.Helper()
		p, err := readGoProgram(path)
		if err != nil {
			t.Error(err)
			return
		}
		if got := p.functions["main.stage"]; got == nil || got.Entry != want {
			t.Errorf("%s: main.stage is %+v, want it at %#x", filepath.Base(path), got, want)
		}
	}
	expect(named)
	stripped := build("stripped", "-ldflags", "-linkmode=external -s -w")
	if _, err := readGoProgram(stripped); err == nil || !strings.Contains(err.Error(), "build it without -s") {
		t.Errorf("a stripped program with C code: %v", err)
	}
	// As Go 1.19 makes it: the table says where Go's text begins.
	f, err = elf.Open(stripped)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	image, err := os.ReadFile(stripped)
	if err != nil {
		t.Fatal(err)
	}
	binary.NativeEndian.PutUint64(image[f.Section(".gopclntab").Offset+24:], text)
	expect(write("older", image))
}
