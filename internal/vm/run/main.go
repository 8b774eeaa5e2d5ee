// SPDX-License-Identifier: Apache-2.0

// Command run boots a guest, runs one command as root in it, and ends with the command's exit status:
//
//	go run ./internal/vm/run -kernel 6.12 -- bpftrace -e 'kprobe:vfs_write { @ = count(); } interval:s:3 { exit(); }'
//	go run ./internal/vm/run -kernel 6.1 -share "$PWD" -- sh -c 'uname -r >release'
//	go run ./internal/vm/run -kernel riscv64 -- ./a-static-program-for-riscv64
//	go run ./internal/vm/run -kernel riscv64-6.1 -config debug -build
//
// A kernel for riscv64 is built if it is not in the cache; -build prints where it is and boots nothing.
//
// The guest sees the host's files. The command's working directory is the current one, and on a terminal the command gets one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/trapline/trapline/internal/vm"
)

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
	}
	os.Exit(code)
}

func run() (int, error) {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	series := flags.String("kernel", "6.1", "`series` of Debian's cloud kernel: "+strings.Join(vm.DebianSeries(), ", ")+
		"; or one built here: riscv64 or riscv64-SERIES, of "+strings.Join(vm.BuiltSeries(), ", "))
	var build vm.BuildConfig
	flags.StringVar(&build.Config, "config", "", "`name` of the built kernel's configuration, see kernel-patch/linux/configs (small)")
	flags.BoolVar(&build.Unpatched, "unpatched", false, "build it without Trapline's patch")
	onlyBuild := flags.Bool("build", false, "build the kernel, print the directory that has it, and end")
	clock := vm.TakeTurns
	flags.BoolFunc("threads", "a thread for each processor instead of one for all (QEMU 7.2 may lose removed breakpoints)", func(string) error {
		clock = vm.ThreadEach
		return nil
	})
	flags.BoolFunc("icount", "one processor and a clock that counts its instructions", func(string) error {
		clock = vm.CountInstructions
		return nil
	})
	cpus := flags.Int("cpus", 0, "processors (2)")
	memory := flags.Int("memory", 0, "memory in `MiB` (2048)")
	cmdline := flags.String("append", "", "added to the kernel's command line")
	verbose := flags.Bool("v", false, "show the guest's console")
	var shared, env []string
	flags.Func("share", "`directory` that the guest writes to (repeatable); elsewhere its writes stay in its memory", func(dir string) error {
		absolute, err := filepath.Abs(dir)
		shared = append(shared, absolute)
		return err
	})
	flags.Func("env", "`NAME=value` for the command (repeatable)", func(value string) error {
		env = append(env, value)
		return nil
	})
	if err := flags.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0, nil
		}
		return 2, nil // flag has said what is wrong
	}
	args := flags.Args()
	if len(args) == 0 {
		args = []string{"/bin/bash"}
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	kernel, err := findKernel(ctx, *series, build)
	if err != nil {
		return 1, err
	}
	if *onlyBuild {
		fmt.Println(filepath.Dir(kernel.Image))
		return 0, nil
	}
	guest, err := vm.Start(ctx, vm.Config{
		Kernel: kernel, Clock: clock, CPUs: *cpus, MemoryMiB: *memory, Cmdline: strings.Fields(*cmdline), Shared: shared, Logger: log,
	})
	if err != nil {
		return 1, err
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = ""
	}
	err = execute(ctx, guest, vm.Command{Args: args, Env: env, Dir: dir})
	err = errors.Join(err, guest.Close())
	if exit, ok := errors.AsType[*vm.ExitError](err); ok {
		if exit.Signal != 0 {
			return 128 + int(exit.Signal), nil
		}
		return exit.Code, nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// findKernel gets the kernel of that name.
func findKernel(ctx context.Context, name string, build vm.BuildConfig) (vm.Kernel, error) {
	series, found := strings.CutPrefix(name, "riscv64")
	if !found {
		return vm.Debian(ctx, name)
	}
	build.Series = strings.TrimPrefix(series, "-")
	build.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)) // it may take minutes
	return vm.BuiltKernel(ctx, build)
}

// execute runs the command on this program's own input and output.
func execute(ctx context.Context, guest *vm.Guest, command vm.Command) error {
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 4)
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) && term.IsTerminal(int(os.Stdout.Fd())) {
		state, err := term.MakeRaw(in)
		if err != nil {
			return err
		}
		defer func() { _ = term.Restore(in, state) }()
		size := terminalSize()
		sizes := make(chan vm.TerminalSize)
		command.Terminal, command.Sizes = &size, sizes
		command.Env = append([]string{"TERM=" + os.Getenv("TERM")}, command.Env...)
		signal.Notify(signals, syscall.SIGWINCH)
		done := make(chan struct{})
		defer close(done)
		go func() {
			for {
				select {
				case <-signals:
				case <-done:
					return
				}
				select {
				case sizes <- terminalSize():
				case <-done:
					return
				}
			}
		}()
		return guest.Run(ctx, command)
	}
	// Ctrl-C and a terminated make are the command's business, as they would be without a guest between.
	passed := make(chan syscall.Signal, 4)
	command.Signals = passed
	signal.Notify(signals, syscall.SIGINT)
	go func() {
		for sig := range signals {
			passed <- sig.(syscall.Signal)
		}
	}()
	if stdin, err := os.Stdin.Stat(); err != nil || stdin.Mode()&os.ModeCharDevice != 0 && !term.IsTerminal(int(os.Stdin.Fd())) {
		command.Stdin = io.LimitReader(os.Stdin, 0) // /dev/null
	}
	return guest.Run(ctx, command)
}

func terminalSize() vm.TerminalSize {
	columns, rows, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return vm.TerminalSize{Rows: 24, Columns: 80}
	}
	return vm.TerminalSize{Rows: uint16(rows), Columns: uint16(columns)}
}
