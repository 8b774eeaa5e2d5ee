// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/profile"
)

// dumped is the process that criu dump dumps: its parasite's work is part of the dump.
func dumped(m *profile.Map, command []string) []int {
	if m.Section != "dump" {
		return nil
	}
	for i, arg := range command {
		number, found := strings.CutPrefix(arg, "--tree=")
		switch {
		case found:
		case (arg == "-t" || arg == "--tree") && i+1 < len(command):
			number = command[i+1]
		case strings.HasPrefix(arg, "-t"):
			number = arg[2:]
		default:
			continue
		}
		if pid, err := parseNumber(number, 1, math.MaxInt32); err == nil {
			return []int{pid}
		}
	}
	return nil
}

// stageMap finds the map of a command: the one that was given, or our own of CRIU.
func (p *profiler) stageMap(command []string) (*profile.Map, error) {
	binary, err := p.program(command[0])
	if err != nil {
		return nil, err
	}
	if p.o.stages == "" {
		if filepath.Base(command[0]) != "criu" && filepath.Base(binary) != "criu" {
			return nil, usagef("%s has no stage map: --stages FILE names one (docs/profile.md says how to write it)", command[0])
		}
		return asUsage(profile.CRIUMap(binary, command[1:]))
	}
	file, err := os.Open(p.o.stages)
	if err != nil {
		return nil, fmt.Errorf("--stages: %w", err)
	}
	defer file.Close()
	return asUsage(profile.ReadMap(p.o.stages, io.LimitReader(file, maxConfig), binary, command[1:]))
}

// asUsage makes an error of what was asked for one of usage.
func asUsage(m *profile.Map, err error) (*profile.Map, error) {
	if err != nil {
		return nil, usageError{err}
	}
	return m, nil
}

// elfMagic begins every program that has symbols.
const elfMagic = "\x7fELF"

// program is the file whose functions are the stages.
func (p *profiler) program(name string) (string, error) {
	asked := p.o.binary
	if asked == "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", err
		}
		asked = path
	}
	path, err := filepath.EvalSymlinks(asked)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("the program of the stage map: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("the program of the stage map: %w", err)
	}
	defer file.Close()
	magic := make([]byte, len(elfMagic))
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != elfMagic {
		return "", usagef("%s is no ELF program but perhaps a script that starts one: --binary FILE names the program whose functions the stages are", path)
	}
	if strings.ContainsAny(path, ": ") {
		return "", fmt.Errorf("%s: a probe can't name a file with a colon or a blank in its path: %w", path, unix.EINVAL)
	}
	return path, nil
}
