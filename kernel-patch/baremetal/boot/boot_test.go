// SPDX-License-Identifier: Apache-2.0

// Package boot tests the bare-metal port of the probe engine: it builds the kernel in the folder above and boots it.
package boot

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Packages of Debian that the test needs: gcc-riscv64-linux-gnu, make, qemu-system-misc, opensbi.

// result is the last line that run_tests prints.
var result = regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed\r?$`)

// kernel builds the kernel for an instruction set, and gives its path.
func kernel(t *testing.T, march string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("make", "-s", "-j2", "-C", "..", "O="+dir, "MARCH="+march).CombinedOutput()
	if err != nil {
		t.Fatalf("build for %s: %v\n%s", march, err, out)
	}
	return filepath.Join(dir, "kernel")
}

// boot runs a kernel until it powers off, and gives what its console showed.
func boot(t *testing.T, kernel string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{"-M", "virt", "-m", "64M", "-nographic", "-no-reboot", "-bios", "default", "-kernel", kernel}, args...)
	out, err := exec.CommandContext(ctx, "qemu-system-riscv64", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-system-riscv64: %v\n%s", err, out)
	}
	return out
}

// TestBoot runs the tests that are in the kernel, with 16-bit instructions and without.
func TestBoot(t *testing.T) {
	for _, march := range []string{"rv64imac_zicsr_zifencei", "rv64ima_zicsr_zifencei"} {
		t.Run(march, func(t *testing.T) {
			kernel := kernel(t, march)
			out := boot(t, kernel, "-smp", "2")
			found := result.FindSubmatch(out)
			switch {
			case found == nil:
				t.Fatalf("no result on the console:\n%s", out)
			case string(found[1]) == "0" || string(found[2]) != "0":
				t.Errorf("want no failed test:\n%s", out)
			}
			if march == "rv64imac_zicsr_zifencei" {
				t.Run("costs", func(t *testing.T) { testCosts(t, kernel) })
			}
		})
	}
}

// testCosts is that the instructions of a hit are no more than they were: the Linux port runs the same code.
func testCosts(t *testing.T, kernel string) {
	limits := map[string]int{
		"entry by jump": 100, "entry with a value by jump": 140, "entry by ebreak": 200, "latency by jump": 280, "latency by ebreak": 380,
	}
	out := boot(t, kernel, "-smp", "1", "-icount", "shift=0,sleep=off")
	for name, limit := range limits {
		found := regexp.MustCompile(`(?m)^` + name + `: (\d+) instructions`).FindSubmatch(out)
		if found == nil {
			t.Errorf("%s: no cost on the console:\n%s", name, out)
			continue
		}
		n, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d instructions", name, n)
		if n == 0 || n > limit {
			t.Errorf("%s: %d instructions, want 1 to %d", name, n, limit)
		}
	}
}
