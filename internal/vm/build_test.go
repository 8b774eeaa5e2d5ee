// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/vm"
)

// builtKernel is the kernel that the tests of RISC-V guests boot. Without -short it is built if need be.
func builtKernel(t *testing.T) vm.Kernel {
	t.Helper()
	if testing.Short() {
		t.Skip("a kernel may have to be built")
	}
	kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return kernel
}

func TestBuiltKernel(t *testing.T) {
	kernel := builtKernel(t)
	for _, name := range []string{"Image", "vmlinux", "System.map", "config", "source"} {
		if info, err := os.Stat(filepath.Join(kernel.Boot, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s of the built kernel: %v", name, err)
		}
	}
	if !strings.HasPrefix(kernel.Release, kernel.Series+".") || kernel.GOARCH != "riscv64" {
		t.Errorf("built kernel: %+v", kernel)
	}
	again, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{})
	if err != nil || again != kernel {
		t.Errorf("asked for once more: %+v, %v; want %+v", again, err, kernel)
	}
}

// TestBuiltKernelUnknown: what can't be built is an error that says what can.
func TestBuiltKernelUnknown(t *testing.T) {
	for want, config := range map[string]vm.BuildConfig{
		"there is 6.1, 6.12":         {Series: "2.4"},
		"no configuration no-such":   {Config: "no-such"},
		"riscv64 6.12 other-unpatch": {Config: "other", Unpatched: true},
	} {
		if _, err := vm.BuiltKernel(t.Context(), config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q in it", config, err, want)
		}
	}
}

// TestGoTestRISCV64 runs a package's tests on the other architecture.
func TestGoTestRISCV64(t *testing.T) {
	vm.GoTest(t.Context(), t, vm.TestRun{
		Guest: vm.Config{Kernel: builtKernel(t)}, Packages: []string{"./testdata/guest"}, MaySkip: "TestMaySkip", Skip: "^TestGoTest$",
	})
}

// TestCountInstructions: where instructions are the clock, the same program takes the same number of them.
func TestCountInstructions(t *testing.T) {
	guest, err := vm.Start(t.Context(), vm.Config{Kernel: builtKernel(t), Clock: vm.CountInstructions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close() })
	var out bytes.Buffer
	program := compileRISCV64(t, "testdata/rdinstret.c")
	if err := guest.Run(t.Context(), vm.Command{Args: []string{program}, Stdout: &out, Stderr: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if want := "1001 1001 1001\n"; out.String() != want {
		t.Errorf("instructions of a loop, three times: %q, want %q", out.String(), want)
	}
	if _, err := vm.Start(t.Context(), vm.Config{Kernel: builtKernel(t), Clock: vm.CountInstructions, CPUs: 2}); err == nil {
		t.Error("instructions are counted with 2 processors, where the counts depend on the host")
	}
}

// compileRISCV64 compiles a C program, statically.
func compileRISCV64(t *testing.T, source string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c"))
	out, err := exec.CommandContext(t.Context(), "riscv64-linux-gnu-gcc", "-static", "-O2", "-Wall", "-Werror", "-o", program, source).CombinedOutput()
	if err != nil {
		t.Fatalf("compile %s (gcc-riscv64-linux-gnu, libc6-dev-riscv64-cross): %v\n%s", source, err, out)
	}
	return program
}
