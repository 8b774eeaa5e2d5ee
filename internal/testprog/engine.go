// SPDX-License-Identifier: Apache-2.0

package testprog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Engine dumps and restores: a program with the command line of criu.
type Engine struct {
	Name string // "trapline" or "criu"
	path func() (string, error)
}

// Trapline is the engine under test, built from this module when it is first used.
func Trapline() Engine { return Engine{Name: "trapline", path: buildTrapline} }

// CRIU is the peer: what TRAPLINE_CRIU names, else what shared/peers/criu beside the checkout installs.
func CRIU() Engine { return Engine{Name: "criu", path: findCRIU} }

// Path returns the engine's executable.
func (e Engine) Path() (string, error) { return e.path() }

var buildTrapline = sync.OnceValues(func() (string, error) {
	if p := os.Getenv("TRAPLINE_BIN"); p != "" {
		return p, nil
	}
	return GoBuild("trapline", nil, "github.com/trapline/trapline/cmd/trapline")
})

// GoBuild compiles a package of this module, or the files given in its place, and returns the binary's path, which is
// gone when the test process ends. env is added to the environment. Where the environment has BuiltEnv(name), in a guest without
// Go, that is it.
func GoBuild(name string, env []string, args ...string) (string, error) {
	if path := os.Getenv(BuiltEnv(name)); path != "" {
		return path, nil
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "bin-")
	if err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	bin := filepath.Join(dir, name)
	err = outside(func() error {
		cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", bin}, args...)...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("testprog: go build %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	})
	return bin, err
}

// BuiltEnv is the environment variable that names a program which GoBuild need not build.
func BuiltEnv(name string) string { return "TRAPLINE_TEST_BUILT_" + name }

var findCRIU = sync.OnceValues(func() (string, error) {
	if p := os.Getenv("TRAPLINE_CRIU"); p != "" {
		return p, nil
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	installer := filepath.Join(root, "..", "shared", "peers", "criu")
	var out []byte
	err = outside(func() error {
		var err error
		cmd := exec.Command(installer)
		cmd.Stderr = os.Stderr
		out, err = cmd.Output()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("testprog: no CRIU: set TRAPLINE_CRIU, or put the installer at %s: %w", installer, err)
	}
	return strings.TrimSpace(string(out)), nil
})

// EngineTimeout bounds one dump or restore. It only has to be longer than any of them on a busy machine.
const EngineTimeout = 40 * time.Second

// A RunError is an engine's failure, with what it printed and logged.
type RunError struct {
	Command string // the command line
	Err     error
	Output  string // standard output and error
	Log     string // the log file
}

func (e *RunError) Error() string {
	return fmt.Sprintf("%s: %v\n--- output\n%s--- log\n%s---", e.Command, e.Err, e.Output, tail(e.Log, 40))
}

func (e *RunError) Unwrap() error { return e.Err }

// ExitStatus returns the status that the engine left with, -1 if a signal ended it.
func (e *RunError) ExitStatus() int {
	var exit *exec.ExitError
	if errors.As(e.Err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// Summary returns the first error that the engine named, for a table.
func (e *RunError) Summary() string {
	for _, text := range []string{e.Log, e.Output} {
		for line := range strings.Lines(text) {
			if _, msg, ok := strings.Cut(line, "Error ("); ok && !strings.Contains(msg, "rlimit: Can't setup") {
				if _, m, ok := strings.Cut(msg, "): "); ok {
					msg = m
				}
				return strings.TrimSpace(msg)
			}
			if strings.HasPrefix(line, "dump: ") || strings.HasPrefix(line, "restore: ") || strings.HasPrefix(line, "trapline") {
				return strings.TrimSpace(line)
			}
		}
	}
	return e.Err.Error()
}

func tail(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	if len(lines) > n {
		lines = append([]string{fmt.Sprintf("… %d lines\n", len(lines)-n)}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "")
}

// Command returns the engine's invocation without starting it: sub is "dump", "pre-dump", "restore" or "check". The
// log goes to SUB.log in images. marker marks the processes that it leaves behind (see Marker).
func (e Engine) Command(ctx context.Context, marker, sub, images string, args ...string) (*exec.Cmd, error) {
	path, err := e.Path()
	if err != nil {
		return nil, err
	}
	argv := append([]string{sub, "-D", images, "-v4", "-o", sub + ".log"}, args...)
	cmd := exec.CommandContext(ctx, path, argv...)
	cmd.Dir = images
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), Marker + "=" + marker}
	for _, name := range []string{"GOCOVERDIR", "CRIU_FAULT"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}

func (e Engine) run(marker, sub, images string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), EngineTimeout)
	defer cancel()
	cmd, err := e.Command(ctx, marker, sub, images, args...)
	if err != nil {
		return err
	}
	// A file and no pipe: a process that the engine leaves behind must not keep Wait from returning.
	output, err := os.CreateTemp("", "engine-output-")
	if err != nil {
		return fmt.Errorf("testprog: %w", err)
	}
	defer os.Remove(output.Name())
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no end after %v: %w", EngineTimeout, err)
		}
		text, _ := os.ReadFile(output.Name())
		log, _ := os.ReadFile(filepath.Join(images, sub+".log"))
		return &RunError{Command: e.Name + " " + strings.Join(cmd.Args[1:], " "), Err: err, Output: string(text), Log: string(log)}
	}
	return nil
}

// Dump dumps the tree of pid into images and, unless args say otherwise, ends it. The error is a *RunError if the
// engine ran and failed.
func (e Engine) Dump(marker string, pid int, images string, args ...string) error {
	return e.run(marker, "dump", images, append([]string{"-t", strconv.Itoa(pid)}, args...)...)
}

// Restore restores images, detached, and returns the PID of the tree's root.
func (e Engine) Restore(marker, images string, args ...string) (int, error) {
	pidfile := filepath.Join(images, "restored.pid")
	if err := os.Remove(pidfile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("testprog: %w", err)
	}
	if err := e.run(marker, "restore", images, append([]string{"-d", "--pidfile", pidfile}, args...)...); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(pidfile)
	if err != nil {
		return 0, fmt.Errorf("testprog: %s restore: --pidfile: %w", e.Name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("testprog: %s restore: --pidfile: %w", e.Name, err)
	}
	return pid, nil
}
