// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// worker does what keeps a kernel busy, and checks what comes back.
type worker struct {
	dir   string // its own
	child string // a small program
	rng   *rand.Rand
}

// work is what a worker does; each a round trip through a part of the kernel.
var work = []struct {
	name string
	do   func(*worker) error
}{
	{"processes", (*worker).processes},
	{"signals", (*worker).signals},
	{"pipes", (*worker).pipes},
	{"files", (*worker).files},
	{"mappings", (*worker).mappings},
	{"directories", (*worker).directories},
	{"memory", (*worker).memory},
	{"unix sockets", (*worker).unixSockets},
	{"tcp", (*worker).tcp},
	{"udp", (*worker).udp},
	{"timers", (*worker).timers},
	{"proc", (*worker).proc},
}

func newWorker(dir string, seed uint64) (*worker, error) {
	w := &worker{dir: dir, child: filepath.Join(dir, "child"), rng: rand.New(rand.NewPCG(seed, 1))}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return w, os.WriteFile(w.child, childProgram(), 0o755)
}

// round does everything once.
func (w *worker) round() error {
	for _, part := range work {
		if err := part.do(w); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// bytes are n random ones.
func (w *worker) bytes(n int) []byte {
	b := make([]byte, (n+7)/8*8)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], w.rng.Uint64())
	}
	return b[:n]
}

// differ describes two texts that should be the same.
func differ(what string, got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	return fmt.Errorf("%s: %d bytes came back of %d, different from %d on", what, len(got), len(want), at)
}

// The status with which childProgram ends, and the one of its own child.
const (
	childStatus      = 42
	grandchildStatus = 7
)

// childProgram is an ELF file that forks, lets both write to the stack, waits for its child, and writes the status that it got, as
// int, to standard output: a process that costs little but its fork, exec and exit.
func childProgram() []byte {
	const base, header = 0x10000, 64 + 56
	code := []uint32{
		0xff010113,             // addi sp, sp, -16
		0x0dc00893,             // li a7, 220: clone
		0x01100513,             // li a0, SIGCHLD
		0x00000593, 0x00000613, // li a1, 0; li a2, 0
		0x00000693, 0x00000713, // li a3, 0; li a4, 0
		0x00000073,             // ecall
		0x00051a63,             // bnez a0, parent
		0x00213023,             // sd sp, 0(sp)
		0x00700513,             // li a0, 7
		0x05e00893,             // li a7, 94: exit_group
		0x00000073,             // ecall
		0x00012423,             // parent: sw zero, 8(sp)
		0x00810593,             // addi a1, sp, 8
		0x00000613, 0x00000693, // li a2, 0; li a3, 0
		0x10400893, // li a7, 260: wait4
		0x00000073, // ecall
		0x00100513, // li a0, 1
		0x00810593, // addi a1, sp, 8
		0x00400613, // li a2, 4
		0x04000893, // li a7, 64: write
		0x00000073, // ecall
		0x02a00513, // li a0, 42
		0x05e00893, // li a7, 94: exit_group
		0x00000073, // ecall
	}
	size := uint64(header + 4*len(code))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, part := range []any{
		uint16(2), uint16(0xf3), uint32(1), uint64(base + header), uint64(64), uint64(0), uint32(4), // EXEC, RISC-V, entry, double float
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // LOAD, read and execute
		code,
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return nil // a value of no fixed size: none here
		}
	}
	return b.Bytes()
}

func init() { roles["load"] = loadRole }

// loadWorkers is how many of them a load has: more than harts, so that tasks take turns.
const loadWorkers = 3

// loadRole is a process that works until its standard input ends. It prints "ready" after the first round of each worker, and in the end
// how many rounds there were. Anything wrong ends it with 1.
func loadRole() int {
	// What is tested runs beside it, and must get its turn.
	if err := unix.Setpriority(unix.PRIO_PGRP, 0, 10); err != nil {
		fmt.Println("lower the priority:", err)
		return 1
	}
	dir, err := os.MkdirTemp(os.Getenv("TRAPLINE_LOAD_DIR"), "load")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	var (
		stop   atomic.Bool
		rounds atomic.Int64
		ready  sync.WaitGroup
		failed = make(chan error, loadWorkers)
	)
	ready.Add(loadWorkers)
	// All programs are written before the first process starts: one that is forked while a program is open for writing keeps it open
	// until its own exec, and an exec of that program then ends with ETXTBSY.
	var workers [loadWorkers]*worker
	for i := range workers {
		if workers[i], err = newWorker(filepath.Join(dir, fmt.Sprint(i)), uint64(i)); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	for _, w := range workers {
		go func() {
			failed <- func() (err error) {
				for n := 0; err == nil && !(stop.Load() && n > 0); n++ {
					if err = w.round(); err == nil && n == 0 {
						ready.Done()
					}
					rounds.Add(1)
				}
				return err
			}()
		}()
	}
	go func() {
		ready.Wait()
		fmt.Println("ready")
	}()
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop.Store(true)
		close(ended)
	}()
	for range loadWorkers {
		if err := <-failed; err != nil {
			fmt.Println(err)
			return 1
		}
	}
	<-ended
	fmt.Println("rounds", rounds.Load())
	return 0
}

// load is a running load.
type load struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	output chan string // what it printed since "ready", when it has ended
	once   sync.Once
}

// startLoad starts one that ends with the test, which fails if the load saw anything wrong.
func startLoad(t *testing.T) *load {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=load", "TRAPLINE_LOAD_DIR=/dev/shm")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &load{cmd: cmd, stdin: stdin, output: make(chan string, 1)}
	t.Cleanup(func() { l.stop(t) })
	lines := bufio.NewReader(stdout)
	first, err := lines.ReadString('\n')
	go func() {
		rest, _ := io.ReadAll(lines)
		l.output <- string(rest)
	}()
	if err != nil || first != "ready\n" {
		l.stop(t)
		t.Fatalf("the load does not begin: %q (%v)", first, err)
	}
	return l
}

// stop ends it and checks what it says.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.once.Do(func() {
		l.stdin.Close()
		said := <-l.output
		if err := l.cmd.Wait(); err != nil || !strings.Contains(said, "rounds ") {
			t.Errorf("the load: %v\n%s", err, said)
			return
		}
		t.Logf("the load: %s", strings.TrimSpace(said))
	})
}

// within waits for a channel, much longer than anything here takes.
func within[T any](from <-chan T, what string) (T, error) {
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	select {
	case v := <-from:
		return v, nil
	case <-limit.C:
		var none T
		return none, fmt.Errorf("%s did not come: %w", what, unix.ETIMEDOUT)
	}
}

// TestLoad runs the load with no probe: what it checks must hold then, or it tells nothing.
func TestLoad(t *testing.T) {
	w, err := newWorker(t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range work {
		// Twice: the first time is the emulator's, who translates what runs.
		var took [2]time.Duration
		for i := range took {
			began := time.Now()
			if err := part.do(w); err != nil {
				t.Errorf("%s: %v", part.name, err)
			}
			took[i] = time.Since(began).Round(10 * time.Microsecond)
		}
		t.Logf("%-13s %v", part.name, took)
	}
	l := startLoad(t)
	began := time.Now()
	const rounds = 5
	for range rounds {
		if err := w.round(); err != nil {
			t.Fatal(err)
		}
	}
	l.stop(t)
	t.Logf("a round beside the load: %v", time.Since(began)/rounds)
}
