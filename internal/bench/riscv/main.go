// SPDX-License-Identifier: Apache-2.0

// Command riscv measures what a probe of the kernel patch costs, beside the kernel's own kprobes: in instructions, exactly, in
// guests whose clock counts them.
//
//	go run ./internal/bench/riscv [-series 6.12] [-write docs/benchmarks.md]
//
// Both run in one kernel, which has the patch, kprobes, and a driver (peer) whose handlers do the same work as the engine's
// statistics. How many functions can be probed, and how long placing takes, is measured in the small kernel, which has no
// kprobes; what the patch adds to a kernel is the difference between that one and the same without the patch.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/trapline/trapline/internal/vm"
)

func main() {
	series := flag.String("series", "6.12", "`series` of the kernel: "+strings.Join(vm.BuiltSeries(), ", "))
	write := flag.String("write", "", "write the report to a `file` too, in place of the last one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, *series, *write)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-riscv:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, series, write string) error {
	work, err := os.MkdirTemp("", "trapline-bench-riscv-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r := report{Series: series}
	measure, err := compile(ctx, work, "measure")
	if err != nil {
		return err
	}
	place, err := compile(ctx, work, "place")
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	kernels := map[string]vm.Kernel{}
	for name, config := range map[string]vm.BuildConfig{
		"bench": {Config: "bench"}, "small": {}, "unpatched": {Unpatched: true},
	} {
		config.Series, config.Logger = series, log
		if kernels[name], err = vm.BuiltKernel(ctx, config); err != nil {
			return err
		}
	}
	exact := vm.Config{Kernel: kernels["bench"], Clock: vm.CountInstructions}
	if err := inGuest(ctx, exact, measure, &r.Costs); err != nil {
		return err
	}
	exact.Kernel = kernels["small"]
	if err := inGuest(ctx, exact, measure, &r.Small); err != nil {
		return err
	}
	exact.Kernel = kernels["unpatched"]
	if err := inGuest(ctx, exact, measure, &r.Unpatched, "-only-call"); err != nil {
		return err
	}
	// Harts that take turns would make each wait for all others a wait for the turn to end.
	if err := inGuest(ctx, vm.Config{Kernel: kernels["small"], Clock: vm.ThreadEach}, place, &r.Placing); err != nil {
		return err
	}
	if r.With, err = imageSize(kernels["small"]); err != nil {
		return err
	}
	if r.Without, err = imageSize(kernels["unpatched"]); err != nil {
		return err
	}
	text := r.text()
	fmt.Print(text)
	if write != "" {
		return writeReport(write, fmt.Sprintf("\nMade by `make bench-riscv WRITE=1` on %s.\n", time.Now().Format(time.DateOnly))+text)
	}
	return nil
}

// compile makes a static program for the guest.
func compile(ctx context.Context, work, name string) (string, error) {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(module)))
	program := filepath.Join(work, name)
	cmd := exec.CommandContext(ctx, "riscv64-linux-gnu-gcc", "-O2", "-static", "-Wall", "-Wextra", "-Werror",
		"-I", filepath.Join(root, "kernel-patch", "include"),
		filepath.Join(root, "internal", "bench", "riscv", "guest", name+".c"), "-o", program)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile %s: %w\n%s", name, err, out)
	}
	return program, nil
}

// inGuest runs a program in a guest of its own and decodes the lines that it prints.
func inGuest[T any](ctx context.Context, config vm.Config, program string, lines *[]T, args ...string) error {
	guest, err := vm.Start(ctx, config)
	if err != nil {
		return err
	}
	defer guest.Close()
	var out, messages bytes.Buffer
	err = guest.Run(ctx, vm.Command{Args: append([]string{program}, args...), Stdout: &out, Stderr: &messages})
	if err != nil {
		return fmt.Errorf("%s in a guest with kernel %s: %w\n%s%s", filepath.Base(program), config.Kernel.Config, err, out.String(), messages.String())
	}
	scanner := bufio.NewScanner(&out)
	for scanner.Scan() {
		var failed struct{ Error string }
		if err := json.Unmarshal(scanner.Bytes(), &failed); err == nil && failed.Error != "" {
			return fmt.Errorf("%s in a guest with kernel %s: %s", filepath.Base(program), config.Kernel.Config, failed.Error)
		}
		var line T
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return fmt.Errorf("%s printed %q: %w", filepath.Base(program), scanner.Text(), err)
		}
		*lines = append(*lines, line)
	}
	return scanner.Err()
}
