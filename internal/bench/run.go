// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// filesDir stands in a case's arguments for a new directory in the tmpfs.
const filesDir = "FILES"

// A sample is one run: one dump, one restore, and the restored target satisfied.
type sample struct {
	dump, frozen, restore time.Duration
	dumpRSS, restoreRSS   int64 // KiB
}

// results holds the samples of a case by name of the engine. An engine that failed has an error in their place.
type results struct {
	samples map[string][]sample
	failed  map[string]error
}

type bench struct {
	config
	engines []engine
}

// measure does all runs of a case. The engines take turns, and each round begins with another one, so that a drift of the machine
// meets all alike.
func (b *bench) measure(k benchCase) (results, error) {
	r := results{samples: map[string][]sample{}, failed: map[string]error{}}
	for round := range b.warmup + b.runs {
		for i := range b.engines {
			e := b.engines[(i+round)%len(b.engines)]
			if r.failed[e.name] != nil {
				continue
			}
			s, err := b.once(k, e)
			if err != nil {
				r.failed[e.name] = fmt.Errorf("%s, %s: %w", k.long, e.name, err)
				continue
			}
			if b.keep {
				fmt.Printf("%-8s %-10s dump %8s frozen %8s restore %8s\n", k.name, e.name, ms(s.dump), ms(s.frozen), ms(s.restore))
			}
			if round >= b.warmup {
				r.samples[e.name] = append(r.samples[e.name], s)
			}
		}
	}
	var all []error
	for _, e := range b.engines {
		if err := r.failed[e.name]; err != nil {
			all = append(all, err)
		}
	}
	return r, errors.Join(all...)
}

// once starts a target, has it checkpointed and restored, and lets it check itself.
func (b *bench) once(k benchCase, e engine) (s sample, err error) {
	dir, err := os.MkdirTemp(b.work, "run-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	images := filepath.Join(dir, "images")
	if err := os.Mkdir(images, 0o700); err != nil {
		return s, err
	}
	pid, err := b.start(k, dir)
	if err != nil {
		return s, err
	}
	defer b.killAll()

	if err := touch(k.touched); err != nil {
		return s, err
	}
	dumped, frozen, err := b.dump(e, pid, images)
	if err != nil {
		return s, err
	}
	b.reap()
	if err := touch(k.touched); err != nil {
		return s, err
	}
	restored, err := b.restore(e, images)
	if err != nil {
		return s, err
	}
	if err := check(pid, filepath.Join(dir, "stderr")); err != nil {
		return s, fmt.Errorf("the restored target: %w", err)
	}
	return sample{
		dump: dumped.wall, frozen: frozen, restore: restored.wall,
		dumpRSS: dumped.maxRSS, restoreRSS: restored.maxRSS,
	}, nil
}

// start runs a target in a session of its own and waits until it has set itself up.
func (b *bench) start(k benchCase, dir string) (int, error) {
	args := make([]string, len(k.args))
	for i, arg := range k.args {
		if arg == filesDir {
			arg = filepath.Join(dir, "files")
			if err := os.Mkdir(arg, 0o700); err != nil {
				return 0, err
			}
		}
		args[i] = arg
	}
	ready, up, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer ready.Close()
	messages, err := os.OpenFile(filepath.Join(dir, "stderr"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		up.Close()
		return 0, err
	}
	defer messages.Close()
	cmd := exec.Command(b.target, args...)
	cmd.Dir = "/"
	cmd.Stderr = messages
	cmd.ExtraFiles = []*os.File{up}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	up.Close()
	if err != nil {
		return 0, err
	}
	// The end of the pipe is the answer; the target closes it when it is ready, or by dying.
	said, err := io.ReadAll(ready)
	if err != nil || string(said) != "r" {
		return 0, fmt.Errorf("target %s did not come up: %s", strings.Join(args, " "), tail(messages.Name()))
	}
	pid := cmd.Process.Pid // Release forgets it
	return pid, cmd.Process.Release()
}

// check has the restored target look at itself and waits for its verdict. An engine that has exited left it to us, PID 1.
func check(pid int, messages string) error {
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		return fmt.Errorf("pid %d: %w", pid, err)
	}
	// A minute is far more than any target needs: one that was restored without its signal would wait forever.
	timer := time.AfterFunc(time.Minute, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	defer timer.Stop()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for pid %d: %w", pid, err)
		}
		break
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		return fmt.Errorf("pid %d: wait status %#x: %s", pid, uint32(status), tail(messages))
	}
	return nil
}

// reap collects every child that has ended; the PIDs of a dumped tree are free again after it.
func (b *bench) reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid == 0 {
			return
		}
	}
}

// killAll ends everything else in this PID namespace and waits for it.
func (b *bench) killAll() {
	// From PID 1, -1 is every other process of the namespace.
	_ = syscall.Kill(-1, syscall.SIGKILL)
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// touch writes to size bytes of new memory and gives it back.
func touch(size int) error {
	area, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return fmt.Errorf("touch %d MiB: %w", size/mib, err)
	}
	_ = unix.Madvise(area, unix.MADV_HUGEPAGE) // else the machine takes a part of it back before the last page is touched
	for off := 0; off < size; off += 4096 {
		area[off] = 1
	}
	runtime.KeepAlive(area)
	return syscall.Munmap(area)
}
