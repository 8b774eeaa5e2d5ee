// SPDX-License-Identifier: Apache-2.0

// Package tests tests the engine's instructions: that each is known for what it is, and that the engine does with it what a
// processor does.
//
// The engine is C, and so are the programs that run it (programs/): one on this machine, with sanitizers, and one for RISC-V under
// qemu-riscv64. The tests here build them, feed them, and judge what they say.
package tests

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// seed is that of everything random here.
const seed = "20260401"

var builtPrograms string // directory of programs that were built

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "trapline-engine-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	builtPrograms = dir
	return m.Run()
}

// A program of programs/ and how it is built.
type program struct {
	name     string
	compiler string
	flags    []string
	sources  []string // from the engine's directory

	once sync.Once
	path string
	err  error
}

// warnings are those that the kernel's build has as errors, and more.
var warnings = []string{"-Wall", "-Wextra", "-Werror"}

var (
	classifyProgram = &program{
		name: "classify", compiler: "gcc",
		flags:   []string{"-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"},
		sources: []string{"tests/programs/classify.c", "insn.c", "compressed.c", "simulate.c", "move.c"},
	}
	// execute includes insn.c for its table. Its signal handler runs with gp and tp of the test's: nothing in it may use them.
	executeProgram = &program{
		name: "execute", compiler: "riscv64-linux-gnu-gcc",
		flags: []string{"-O2", "-g", "-static", "-fno-stack-protector", "-Wl,--no-relax"},
		sources: []string{
			"tests/programs/execute.c", "tests/programs/registers.c", "tests/programs/compare.c",
			"compressed.c", "simulate.c", "move.c",
		},
	}
	fuzzProgram = &program{
		name: "fuzz", compiler: "clang",
		flags:   []string{"-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"},
		sources: []string{"tests/programs/fuzz.c", "insn.c", "compressed.c", "simulate.c", "move.c"},
	}
)

// build returns the program's path.
func (p *program) build(t *testing.T) string {
	t.Helper()
	p.once.Do(func() {
		p.path = filepath.Join(builtPrograms, p.name)
		args := append([]string{"-Itests/programs", "-I.", "-o", p.path}, warnings...)
		args = append(append(args, p.flags...), p.sources...)
		cmd := exec.CommandContext(t.Context(), p.compiler, args...)
		cmd.Dir = ".." // the engine's
		if output, err := cmd.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("%v: %w\n%s", cmd, err, output)
		}
	})
	if p.err != nil {
		t.Fatalf("build of %s: %v", p.name, p.err)
	}
	return p.path
}

// run gives what a program writes to standard output. A failure quotes all that it said.
func run(t *testing.T, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes()
}
