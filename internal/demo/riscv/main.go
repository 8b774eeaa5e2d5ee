// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Riscv is the demonstration on RISC-V: a small kernel without eBPF, ftrace, perf and kprobes but with our patch, in an emulator; a program
// that counts, checkpointed and restored there; what each stage spent its time on, by kernel function; and the program's own verdict.
//
//	go run ./internal/demo/riscv
//
// It needs root and what `internal/ci/packages test` installs. The kernel is built if it is not in the cache. On a terminal the tables are
// redrawn while the stages run. Exit status 1 if the program was disturbed or anything else went wrong.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/trapline/trapline/internal/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := demo(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo-riscv:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "trapline-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs := map[string]string{"trapline": "./cmd/trapline", "counter": "./internal/demo/riscv/counter"}
	for name, pkg := range programs {
		if err := build(ctx, filepath.Join(dir, name), pkg); err != nil {
			return err
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)) // a build takes minutes
	kernel, err := vm.BuiltKernel(ctx, vm.BuildConfig{Logger: log})
	if err != nil {
		return err
	}
	// A thread for each processor: every change of the kernel's text stops them all, and threads that take turns are slow at that.
	guest, err := vm.Start(ctx, vm.Config{Kernel: kernel, Clock: vm.ThreadEach})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guest.Close()) }()
	return (&conductor{ctx: ctx, guest: guest, dir: dir}).run()
}

// build compiles a program for the guest.
func build(ctx context.Context, output, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", output, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=riscv64")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}

// A conductor has the guest run one command after the other.
type conductor struct {
	ctx   context.Context
	guest *vm.Guest
	dir   string
}

// In the guest's own memory.
const (
	counterDir = "/tmp/counter"
	images     = counterDir + "/images"
)

func (c *conductor) run() error {
	var release bytes.Buffer
	if err := c.command(&release, "trapline", "check", "--feature", "patch"); err != nil {
		return err
	}
	fmt.Printf("Linux for riscv64, emulated, without eBPF, ftrace, perf and kprobes: %s\n", strings.TrimSpace(release.String()))

	var out bytes.Buffer
	if err := c.command(&out, "counter", "start", counterDir); err != nil {
		return err
	}
	pid := strings.TrimSpace(out.String())
	fmt.Printf("a program counts, PID %s\n\n$ trapline profile dump --tree %s --images-dir %s\n", pid, pid, images)
	if err := c.shown("trapline", "profile", "dump", "--tree", pid, "--images-dir", images); err != nil {
		return err
	}
	fmt.Printf("\n$ trapline profile restore --images-dir %s --restore-detached\n", images)
	if err := c.shown("trapline", "profile", "restore", "--images-dir", images, "--restore-detached"); err != nil {
		return err
	}
	fmt.Println()
	return c.command(os.Stdout, "counter", "ask", pid, counterDir)
}

// command runs one of our programs in the guest.
func (c *conductor) command(out io.Writer, name string, args ...string) error {
	return c.execute(vm.Command{Args: append([]string{filepath.Join(c.dir, name)}, args...), Dir: "/tmp", Stdout: out, Stderr: os.Stderr})
}

// shown runs one on this program's terminal, if there is one.
func (c *conductor) shown(name string, args ...string) error {
	command := vm.Command{Args: append([]string{filepath.Join(c.dir, name)}, args...), Dir: "/tmp", Stdout: os.Stdout, Stderr: os.Stderr}
	if columns, rows, err := term.GetSize(int(os.Stdout.Fd())); err == nil && columns > 0 && rows > 0 {
		command.Terminal = &vm.TerminalSize{Rows: uint16(rows), Columns: uint16(columns)}
		command.Env = []string{"TERM=" + os.Getenv("TERM")}
	}
	return c.execute(command)
}

func (c *conductor) execute(command vm.Command) error {
	if err := c.guest.Run(c.ctx, command); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(command.Args[0]), strings.Join(command.Args[1:], " "), err)
	}
	return nil
}
