// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/trapline/trapline/internal/vm"
)

// A probesCase is a group of measurements on one kernel. It runs in a process of its own: here in a mount namespace where
// tracefs is where bpftrace looks for it, or in a guest. What it measures it prints as JSON, a value a line.
type probesCase struct {
	name   string // as given to -cases
	series string // of the guest's kernel; "" is this machine
	// counting guests have one processor and a clock that counts instructions: what else this machine does leaves no trace in
	// their figures.
	counting bool
	run      func(context.Context, config, *json.Encoder) error
	report   func(*strings.Builder, *json.Decoder) error
}

func probesCases() []probesCase {
	all := []probesCase{costCase("probes-here", ""), tablesCase(), eventsCase()}
	for _, series := range vm.DebianSeries() {
		all = append(all, costCase("probes-"+series, series))
	}
	for _, series := range vm.DebianSeries() {
		all = append(all, attachCase(series))
	}
	return all
}

// isProbes says whether cases are ones of this file: "probes" is all of them.
func isProbes(cases string) bool { return strings.HasPrefix(cases, "probes") }

func selectProbesCases(names string) ([]probesCase, error) {
	all := probesCases()
	if names == "probes" {
		return all, nil
	}
	var chosen []probesCase
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(c probesCase) bool { return c.name == name })
		if i < 0 {
			var known []string
			for _, c := range all {
				known = append(known, c.name)
			}
			return nil, fmt.Errorf("no case %q: %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// probesOutside runs cases, each in its own process, and reports.
func probesOutside(ctx context.Context, c config) error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed")
	}
	cases, err := selectProbesCases(c.cases)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, k := range cases {
		var out bytes.Buffer
		var to io.Writer = &out
		if c.keep {
			to = io.MultiWriter(&out, os.Stdout)
		}
		args := []string{"-" + probesFlag, k.name, "-runs", fmt.Sprint(c.runs), "-trapline", c.trapline}
		if err := runCase(ctx, k, args, to); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		from := text.Len()
		if err := k.report(&text, json.NewDecoder(&out)); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		fmt.Println(text.String()[from:])
	}
	if c.write == "" {
		return nil
	}
	return writeProbes(c, text.String())
}

// runCase runs this program again where the case belongs.
func runCase(ctx context.Context, k probesCase, args []string, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if k.series == "" {
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		return cmd.Run()
	}
	kernel, err := vm.Debian(ctx, k.series)
	if err != nil {
		return err
	}
	guest, err := vm.Start(ctx, guestConfig(k, kernel))
	if err != nil {
		return err
	}
	defer guest.Close()
	return guest.Run(ctx, vm.Command{Args: append([]string{self}, args...), Stdout: out, Stderr: os.Stderr})
}

func guestConfig(k probesCase, kernel vm.Kernel) vm.Config {
	if !k.counting {
		return vm.Config{Kernel: kernel}
	}
	machine := vm.PC()
	for i, arg := range machine.Args {
		if strings.HasPrefix(arg, "tcg") {
			machine.Args[i] = "tcg,thread=single"
		}
	}
	machine.Args = append(machine.Args, "-icount", "shift=0,sleep=off")
	return vm.Config{Kernel: kernel, Machine: machine, CPUs: 1}
}

// probesInside is the process that measures one case.
func probesInside(ctx context.Context, c config) error {
	i := slices.IndexFunc(probesCases(), func(k probesCase) bool { return k.name == c.probesCase })
	if i < 0 {
		return errors.New("-" + probesFlag + " is for the benchmark's own use")
	}
	k := probesCases()[i]
	if k.series == "" {
		if err := mountTracing(); err != nil {
			return err
		}
	}
	return k.run(ctx, c, json.NewEncoder(os.Stdout))
}

// mountTracing mounts what bpftrace and perf look for, in a mount namespace of our own.
func mountTracing() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for target, fs := range map[string]string{"/sys/kernel/debug": "debugfs", "/sys/kernel/tracing": "tracefs"} {
		if err := syscall.Mount(fs, target, fs, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	return nil
}
