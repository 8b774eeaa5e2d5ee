// SPDX-License-Identifier: Apache-2.0

//go:build !riscv64

package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/internal/vm"
)

// config is the guest with the small patched kernel.
func config(t *testing.T) vm.Config {
	t.Helper()
	kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{Config: "small"})
	if err != nil {
		t.Fatal(err)
	}
	return vm.Config{Kernel: kernel}
}

// build compiles what the tests need and the guest can't: the test programs, the engine, a Go program. It returns the environment
// that tells the guest's tests where they are.
func build(t *testing.T) []string {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	programs, err := testprog.Programs("riscv64")
	if err != nil {
		t.Fatal(err)
	}
	if err := testprog.Prepare("riscv64", programs...); err != nil {
		t.Fatal(err)
	}
	cross := []string{"GOARCH=riscv64", "CGO_ENABLED=0"}
	engine, err := testprog.GoBuild("trapline", cross, "github.com/trapline/trapline/cmd/trapline")
	if err != nil {
		t.Fatal(err)
	}
	text, err := testprog.Script("goprog.go")
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "goprog.go")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	static, err := testprog.GoBuild("static", cross, source)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return []string{testprog.BuiltEnv("trapline") + "=" + engine, testprog.BuiltEnv("static") + "=" + static, "XDG_CACHE_HOME=" + cache}
}

// TestVector runs the tests of registers on a kernel and a processor with the vector extension. It takes a kernel of its own, so it
// is for make stress.
func TestVector(t *testing.T) {
	if os.Getenv("TRAPLINE_STRESS") == "" {
		t.Skip("only in make stress")
	}
	kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{Config: "vector"})
	if err != nil {
		t.Fatal(err)
	}
	machine := vm.RISCV64()
	machine.Args = append(machine.Args, "-cpu", "rv64,v=true,vext_spec=v1.0")
	vm.GoTest(t.Context(), t, vm.TestRun{
		Guest: vm.Config{Kernel: kernel, Machine: machine, Clock: vm.ThreadEach}, Packages: []string{".."}, Env: build(t),
		Run: "^(TestE2E|TestE2ERegistersStay)$/^cpu", Args: []string{"-pairs=trapline-trapline"},
	})
}

// TestRISCV64 runs the engine's tests on the small kernel. Which of its scenarios that kernel, or a guest without the host's
// programs, can't serve the tests say themselves (checkpoint/e2e_here_riscv64_test.go).
//
//	go test ./checkpoint/guest -v -run TestRISCV64
//	go test ./checkpoint/guest -v -run TestRISCV64/e2e/TestE2E/memory/vdso
//	TRAPLINE_STRESS=1 go test ./checkpoint/guest -v -run TestRISCV64      all scenarios: many minutes
func TestRISCV64(t *testing.T) {
	if testing.Short() {
		t.Skip("guests are not for short runs")
	}
	guest := config(t)
	guest.Clock = vm.ThreadEach // nothing here has breakpoints
	env := build(t)
	for name, run := range map[string]vm.TestRun{
		"inject": {Packages: []string{"../inject"}},
		"e2e":    {Packages: []string{".."}, Args: []string{"-pairs=trapline-trapline"}},
		// QEMU has Sv57, where programs see 47 bits of addresses; most machines have Sv39.
		"sv39": {Packages: []string{".."}, Args: []string{"-pairs=trapline-trapline"}, Run: "^TestE2E$/^basic$"},
	} {
		t.Run(name, func(t *testing.T) {
			run.Guest, run.Env = guest, env
			if name == "sv39" {
				run.Guest.Cmdline = []string{"no4lvl"}
			}
			if os.Getenv("TRAPLINE_STRESS") == "" {
				run.Args = append(run.Args, "-test.short")
			}
			vm.GoTest(t.Context(), t, run)
		})
	}
}
