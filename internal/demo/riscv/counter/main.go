// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Counter counts, and knows whether it has been disturbed:
//
//	counter start DIR      starts it in the background, and prints its PID when it counts
//	counter ask PID DIR    has it look at itself and end, prints what it says, and ends as it does
//
// It keeps a chain of checksums over all numbers so far, several MiB of known bytes, and what the kernel says of it.
package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long a counter may take to come up or to answer. Emulated processors are slow.
const patience = time.Minute

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "counter:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "start":
		return start(args[1])
	case len(args) == 3 && args[0] == "ask":
		return ask(args[1], args[2])
	case len(args) == 1 && args[0] == "count":
		return count()
	}
	return errors.New("want start DIR, or ask PID DIR")
}

// What is in its directory: what it says, and room for a checkpoint.
const (
	logFile   = "log"
	imagesDir = "images"
)

func start(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, imagesDir), 0o700); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, logFile))
	if err != nil {
		return err
	}
	defer file.Close()
	ready, up, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "count")
	cmd.Args[0] = "counter"
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = file, file
	cmd.ExtraFiles = []*os.File{up}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	up.Close()
	if err != nil {
		return err
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the counter did not come up: %w", err)
	}
	fmt.Println(cmd.Process.Pid)
	return cmd.Process.Release()
}

// ask is for a process that is not a child of this one: its answer is in the log when it has ended.
func ask(pid, dir string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	if err := syscall.Kill(n, syscall.SIGUSR1); err != nil {
		return fmt.Errorf("pid %d: %w", n, err)
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(dir, logFile))
		if err != nil {
			return err
		}
		if said, whole := strings.CutSuffix(string(text), "\nend\n"); whole {
			fmt.Println(said)
			if !strings.Contains(said, "whole") {
				return errors.New("it was disturbed")
			}
			return nil
		}
	}
	return fmt.Errorf("pid %d does not answer", n)
}

// memory is what the counter keeps, in bytes.
const memory = 8 << 20

// state is everything that must be there after a restore.
type state struct {
	numbers atomic.Uint64
	chain   atomic.Uint64
	bytes   []byte
	pid     int
	command string
}

func count() error {
	s := &state{bytes: make([]byte, memory), pid: os.Getpid(), command: commandLine()}
	for i := range s.bytes {
		s.bytes[i] = known(i)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	up := os.NewFile(3, "ready")
	s.next()
	if _, err := up.Write([]byte{1}); err != nil {
		return err
	}
	up.Close()
	tick := time.NewTicker(time.Millisecond)
	for {
		select {
		case <-tick.C:
			s.next()
		case <-asked:
			verdict := s.check()
			fmt.Printf("%s\nend\n", verdict)
			return nil
		}
	}
}

// known is the byte that stands at a place.
func known(i int) byte { return byte(i>>12) ^ byte(i)*31 }

// next counts one further.
func (s *state) next() {
	s.chain.Store(link(s.chain.Load(), s.numbers.Add(1)))
}

// link adds a number to the chain.
func link(chain, n uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, chain, n)
	return h.Sum64()
}

// check goes through everything again.
func (s *state) check() string {
	last := s.numbers.Load()
	chain := uint64(0)
	for n := uint64(1); n <= last; n++ {
		chain = link(chain, n)
	}
	var wrong []string
	if chain != s.chain.Load() {
		wrong = append(wrong, "a number was left out, or counted twice")
	}
	for i, b := range s.bytes {
		if b != known(i) {
			wrong = append(wrong, fmt.Sprintf("byte %d of its memory is another one", i))
			break
		}
	}
	if pid := os.Getpid(); pid != s.pid {
		wrong = append(wrong, fmt.Sprintf("its PID is %d, at the start it was %d", pid, s.pid))
	}
	if command := commandLine(); command != s.command {
		wrong = append(wrong, fmt.Sprintf("its command line is %q, at the start it was %q", command, s.command))
	}
	if len(wrong) > 0 {
		return "the counter, disturbed: " + strings.Join(wrong, "; ")
	}
	return fmt.Sprintf("the counter, PID %d: counted to %d, each number once; %d MiB of memory as they were written. It is whole.", s.pid, last, memory>>20)
}

func commandLine() string {
	text, _ := os.ReadFile("/proc/self/cmdline")
	return strings.ReplaceAll(strings.TrimSuffix(string(text), "\x00"), "\x00", " ")
}
