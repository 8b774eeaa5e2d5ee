// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Demo checkpoints a real Redis server under load and brings it back, several times, and lets the clients judge: every write that the
// server has ever acknowledged must be there at the end.
//
//	go run ./internal/demo -trapline bin/trapline [-cycles 5] [-clients 4]
//
// It needs root and Debian's redis-tools (`make demo` installs it). The server listens on a free port of the loopback interface, keeps
// everything in memory (no RDB, no AOF: nothing but the checkpoint can save a write) and lives in a PID and mount namespace of its own,
// which ends with the demo, whatever happens. Exit status 1 if anything is lost, 2 for wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type config struct {
	trapline string
	cycles   int
	clients  int
	writes   int // acknowledged writes of each client between two checkpoints
	stages   bool
	profile  bool // of this checkpoint: the profile in place of the stages
	work     string
	inside   bool
}

// limit ends a demo in which something hangs.
const limit = 2 * time.Minute

func main() {
	var c config
	flag.StringVar(&c.trapline, "trapline", "bin/trapline", "the trapline `program`")
	flag.IntVar(&c.cycles, "cycles", 5, "how many times to checkpoint and restore")
	flag.IntVar(&c.clients, "clients", 4, "concurrent clients")
	flag.IntVar(&c.writes, "writes", 20000, "acknowledged writes of each client between two checkpoints")
	flag.BoolVar(&c.stages, "stages", true, "print the tables of stages")
	flag.StringVar(&c.work, "work", "", "set by the demo itself")
	flag.BoolVar(&c.inside, "inside", false, "set by the demo itself")
	flag.Parse()

	run := outside
	if c.inside {
		run = inside
	}
	if err := run(c); err != nil {
		// What went wrong inside has been said there.
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			fmt.Fprintln(os.Stderr, "demo:", err)
		}
		os.Exit(1)
	}
}

// outside runs this program again as PID 1 of new namespaces and cleans up after it.
func outside(c config) error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed")
	}
	if c.cycles < 1 || c.clients < 1 || c.writes < 1 {
		return errors.New("-cycles, -clients and -writes are at least 1")
	}
	program, err := filepath.Abs(c.trapline)
	if err != nil {
		return err
	}
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("-trapline: %w (`make build` makes it)", err)
	}
	// A descriptor that the caller left open would become part of the server's table, and so of the checkpoint.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	work, err := os.MkdirTemp("", "trapline-demo-")
	if err != nil {
		return err
	}
	defer os.Remove(work) // empty: the tmpfs on it belongs to the namespace

	cmd := exec.Command("/proc/self/exe", "-inside", "-work", work, "-trapline", program, "-cycles", fmt.Sprint(c.cycles),
		"-clients", fmt.Sprint(c.clients), "-writes", fmt.Sprint(c.writes), fmt.Sprintf("-stages=%t", c.stages))
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	// With PID 1 the kernel ends everything in the namespace.
	select {
	case err := <-done:
		return err
	case s := <-interrupted:
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("ended by %s", s)
	case <-timer.C:
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("not done after %s", limit)
	}
}

// inside is PID 1: server, clients, cycles, verdict.
func inside(c config) error {
	if os.Getpid() != 1 {
		return errors.New("-inside is for the demo's own use")
	}
	if err := mounts(c.work); err != nil {
		return err
	}
	server, err := startRedis(c.work)
	if err != nil {
		return err
	}
	first, err := server.identity()
	if err != nil {
		return err
	}
	fmt.Printf("redis-server %s, pid %d, 127.0.0.1:%d, nothing on disk; %d clients write numbered keys and check them all the while\n",
		first.version, server.pid, server.port, c.clients)

	load := startLoad(server.address(), c.clients)
	for cycle := range c.cycles {
		if err := load.advance(c.writes); err != nil {
			return err
		}
		if err := checkpoint(c, cycle+1, server, load); err != nil {
			_ = load.stop() // a client that fails after this fails because of it
			return err
		}
	}
	if err := load.advance(c.writes); err != nil {
		return err
	}
	if err := load.stop(); err != nil {
		return err
	}
	return verdict(c, server, load, first)
}

// checkpoint dumps the server, which ends with it, and restores it, while the clients go on trying.
func checkpoint(c config, cycle int, server *redis, load *load) error {
	images := filepath.Join(c.work, fmt.Sprintf("images-%d", cycle))
	if err := os.Mkdir(images, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(images)
	load.startOutage()

	fmt.Printf("\ncheckpoint %d of %d: dump\n", cycle, c.cycles)
	// The last one says more: what the time of each stage went to.
	c.profile = c.stages && cycle == c.cycles
	dumpTime, err := c.engine(images, "dump", "--tree", fmt.Sprint(server.pid), "--tcp-close", "--skip-in-flight")
	if err != nil {
		return err
	}
	// It is a child of ours, by birth or because the engine that restored it has exited. Its PID is free once we have waited for it.
	if err := server.wait(); err != nil {
		return err
	}
	size, err := sizeOf(images)
	if err != nil {
		return err
	}
	fmt.Printf("checkpoint %d of %d: restore\n", cycle, c.cycles)
	restoreTime, err := c.engine(images, "restore", "--tcp-close", "--restore-detached")
	if err != nil {
		return err
	}
	outage, err := load.endOutage()
	if err != nil {
		return err
	}
	fmt.Printf("checkpoint %d of %d: %.1f MiB; dump %s ms, restore %s ms by the wall; %d writes acknowledged so far, none for %s ms\n",
		cycle, c.cycles, float64(size)/(1<<20), inMS(dumpTime), inMS(restoreTime), load.acknowledged(), inMS(outage))
	return nil
}

// engine runs a subcommand of trapline. Its table of stages goes to our standard output, its messages to standard error.
func (c config) engine(images, command string, args ...string) (time.Duration, error) {
	args = append([]string{command, "--images-dir", images}, args...)
	switch {
	case c.profile:
		args = append([]string{"profile"}, args...)
	case c.stages:
		args = append(args, "--stages")
	}
	cmd := exec.Command(c.trapline, args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	begin := time.Now()
	err := cmd.Run()
	if err != nil && c.profile {
		// Nothing has been done to the server then. Not every kernel lets a profile be made inside a PID namespace.
		fmt.Println("no profile here; plain stages instead")
		c.profile = false
		return c.engine(images, command, args[4:]...)
	}
	if err != nil {
		return 0, fmt.Errorf("trapline %s: %w", command, err)
	}
	return time.Since(begin), nil
}

// verdict reads every acknowledged key back.
func verdict(c config, server *redis, load *load, first identity) error {
	last, err := server.identity()
	if err != nil {
		return err
	}
	if last != first {
		return fmt.Errorf("this is another server: %+v, at the beginning %+v", last, first)
	}
	lost, err := load.verify()
	if err != nil {
		return err
	}
	acknowledged := load.acknowledged()
	fmt.Printf("\n%d checkpoints, the same server (run id %.8s…), %d connections made anew\n", c.cycles, last.runID, load.reconnects())
	fmt.Printf("%d writes acknowledged, %d of them found in the end, %d checked on the way\n", acknowledged, acknowledged-lost, load.checked())
	if lost > 0 {
		return fmt.Errorf("%d acknowledged writes lost", lost)
	}
	fmt.Println("not one acknowledged write lost")
	return nil
}

// mounts makes the namespace's mounts private and puts a /proc of this PID namespace and a tmpfs into them.
func mounts(work string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := syscall.Mount("tmpfs", work, "tmpfs", 0, "size=50%,mode=0700"); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", work, err)
	}
	return nil
}

// sizeOf adds up the files of a directory, in bytes.
func sizeOf(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var size int64
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, nil
}

func inMS(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }
