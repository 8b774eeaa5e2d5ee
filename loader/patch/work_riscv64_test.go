// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// working is set where this program is started anew to be traced: its arguments then say what it does.
const working = "TRAPLINE_TEST_WORK"

func TestMain(m *testing.M) {
	if os.Getenv(working) == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	if err := work(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// command is this program at some work.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), working+"=1")
	cmd.Stderr = os.Stderr
	return cmd
}

// size is how many bytes the work's writes have: nothing else that a Go program does writes so many.
const size = 7

// writes writes to /dev/null.
func writes(n int) error {
	fd, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var b [size]byte
	for range n {
		if _, err := unix.Write(fd, b[:]); err != nil {
			return err
		}
	}
	return nil
}

// inThreads calls f in n threads at once.
func inThreads(n int, f func() error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			runtime.LockOSThread() // and ends with it
			errs[i] = f()
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// work does what a test wants to see.
//
//	writes N         N writes of size bytes
//	threads T N      the same in each of T threads
//	tree N           the same in a thread, in a process, and in a process of that one's
//	opens PATH N     opens and closes a file
//	sleeps N USEC    sleeps
//	badcloses N      closes what is not open
//	ppids N          asks for its parent
//	serve            for each byte that it reads, 2 writes in each of 3 threads, and an answer
//	load N SYMBOL    places N latency probes, each with a filter, answers, and waits to be killed
func work(what string, args []string) error {
	number := func(i int) int {
		if i >= len(args) {
			return 0
		}
		n, _ := strconv.Atoi(args[i])
		return n
	}
	switch what {
	case "writes":
		return writes(number(0))
	case "threads":
		return inThreads(number(0), func() error { return writes(number(1)) })
	case "tree":
		return tree(number(0), args[1:])
	case "opens":
		for range number(1) {
			fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			unix.Close(fd)
		}
	case "sleeps":
		for range number(0) {
			t := unix.NsecToTimespec(int64(number(1)) * int64(time.Microsecond))
			if err := unix.Nanosleep(&t, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	case "badcloses":
		for range number(0) {
			unix.Close(1 << 20)
		}
	case "ppids":
		for range number(0) {
			unix.Getppid()
		}
	case "serve":
		return serve()
	case "load":
		return load(number(0), args[1])
	default:
		return fmt.Errorf("no such work: %s", what)
	}
	return nil
}

func tree(n int, args []string) error {
	if err := inThreads(1, func() error { return writes(n) }); err != nil {
		return err
	}
	child := command("tree", strconv.Itoa(n), "x")
	if len(args) > 0 {
		child = command("writes", strconv.Itoa(n))
	}
	return child.Run()
}

func serve() error {
	for {
		var b [1]byte
		if n, err := unix.Read(0, b[:]); n == 0 || err != nil {
			return err
		}
		if err := inThreads(3, func() error { return writes(2) }); err != nil {
			return err
		}
		if _, err := unix.Write(1, b[:]); err != nil {
			return err
		}
	}
}

func load(n int, symbol string) error {
	for range n {
		r := &request{attr: abi.Attr{Kind: abi.KindLatency, Flags: abi.FlagFilter, GroupFD: -1}, symbol: symbol}
		fd, err := r.open()
		if err != nil {
			return err
		}
		if err := errors.Join(control(fd, abi.IocEnable, 0), control(fd, abi.IocFollow, os.Getpid())); err != nil {
			return err
		}
	}
	if _, err := unix.Write(1, []byte{'.'}); err != nil {
		return err
	}
	_, err := unix.Read(0, make([]byte, 1)) // nothing is ever written there
	return err
}

// server is a process at the work "serve" or "load".
type server struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *os.File
	out *os.File
}

// startServer starts it; with wait it has answered once.
func startServer(t *testing.T, wait bool, args ...string) *server {
	t.Helper()
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, cmd: command(args...), in: in, out: out}
	s.cmd.Stdin, s.cmd.Stdout = theirIn, theirOut
	err = s.cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	if wait {
		s.answer()
	}
	return s
}

func (s *server) answer() {
	s.t.Helper()
	if _, err := s.out.Read(make([]byte, 1)); err != nil {
		s.t.Fatalf("%s does not answer: %v", s.cmd, err)
	}
}

// round has it do its work once.
func (s *server) round() {
	s.t.Helper()
	if _, err := s.in.Write([]byte{'x'}); err != nil {
		s.t.Fatal(err)
	}
	s.answer()
}

// kill ends it as nothing can see coming, and waits until it is gone.
func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	s.in.Close()
	s.out.Close()
}
