// SPDX-License-Identifier: Apache-2.0

package testprog

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Environment variables that tell a re-executed test binary which stage it is, and descriptor numbers that it inherits.
const (
	stageEnv = "TRAPLINE_TEST_STAGE" // "" (started by go test), "init" (PID 1 of the namespaces), "tests"
	tmpEnv   = "TRAPLINE_TEST_TMP"   // mount point of the tmpfs

	outerNetFd = 3 // the network namespace of go test, in which Go modules can be had
)

// Main runs the tests of a package in PID, mount, IPC and network namespaces of their own and exits with their status.
// It is the whole of a TestMain:
//
//	func TestMain(m *testing.M) { testprog.Main(m) }
//
// The test binary is executed three times: by go test, then as init of the new namespaces (mounts /proc and a tmpfs,
// reaps every orphan at once, which a restore to the same PIDs needs), then below that init to run the tests.
// When the outermost process dies, however, the kernel ends all of them.
//
// Without root the tests fail: there is no way to run them, and a skipped test would look like a passed one.
func Main(m *testing.M) {
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-test.list") || strings.HasPrefix(arg, "--test.list") {
			os.Exit(m.Run())
		}
	}
	var code int
	var err error
	switch os.Getenv(stageEnv) {
	case "":
		code, err = runOuter()
	case "init":
		code, err = runInit()
	default:
		// A shell above go test may have left descriptors open; no target must inherit them.
		if err = unix.CloseRange(outerNetFd, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
			break
		}
		code = m.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

// InNamespaces tells whether this process runs below Main's init.
func InNamespaces() bool { return os.Getenv(stageEnv) == "tests" }

// runOuter executes the test binary as init of new namespaces and waits for it.
func runOuter() (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("testprog: these tests checkpoint processes in namespaces of their own and need root")
	}
	dir, err := os.MkdirTemp("", "trapline-test-")
	if err != nil {
		return 1, fmt.Errorf("testprog: %w", err)
	}
	defer os.RemoveAll(dir)
	netns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return 1, fmt.Errorf("testprog: %w", err)
	}
	defer netns.Close()

	// Pdeathsig is sent when the thread that forked ends, so this one must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageEnv+"=init", tmpEnv+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{netns}
	cmd.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
		Pdeathsig:  unix.SIGKILL,
	}
	return exitCode(cmd.Run())
}

func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if exit.Exited() {
			return exit.ExitCode(), nil
		}
		return 1, fmt.Errorf("testprog: test process: %w", err)
	}
	if err != nil {
		return 1, fmt.Errorf("testprog: run the test binary in new namespaces: %w", err)
	}
	return 0, nil
}

// runInit is PID 1: it sets the namespaces up, starts the tests, and reaps until they are done.
func runInit() (int, error) {
	tmp := os.Getenv(tmpEnv)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 1, fmt.Errorf("testprog: make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return 1, fmt.Errorf("testprog: mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", tmp, "tmpfs", 0, "mode=1777"); err != nil {
		return 1, fmt.Errorf("testprog: mount tmpfs: %w", err)
	}
	// Far more than a run uses, so that no PID comes up twice. A kernel before 6.14 has one limit for all namespaces.
	_ = os.WriteFile("/proc/sys/kernel/pid_max", []byte("4194304"), 0)
	if err := loopbackUp(); err != nil {
		return 1, err
	}

	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, stageEnv+"=") || strings.HasPrefix(s, "TMPDIR=")
	})
	env = append(env, stageEnv+"=tests", "TMPDIR="+tmp)
	files := []uintptr{0, 1, 2, outerNetFd}
	// A session of their own keeps a terminal's signals away from the tests; os/exec would race with the reaping below.
	pid, err := forkExec(os.Args, env, files)
	if err != nil {
		return 1, err
	}
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 1, fmt.Errorf("testprog: wait for the tests: %w", err)
		}
		if got == pid && ws.Exited() {
			return ws.ExitStatus(), nil
		}
		if got == pid && ws.Signaled() {
			return 1, fmt.Errorf("testprog: the test process was killed: %v", ws.Signal())
		}
	}
}

// loopbackUp brings the loopback interface of a new network namespace up.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("testprog: %w", err)
	}
	defer unix.Close(fd)
	// struct ifreq: the name in 16 bytes, then a union of 24 whose first member here is ifr_flags.
	var ifreq [40]byte
	copy(ifreq[:], "lo")
	ifreq[16] = unix.IFF_UP
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&ifreq))); errno != 0 {
		return fmt.Errorf("testprog: bring lo up: %w", errno)
	}
	return nil
}

// outside runs fn on a thread in the network namespace of go test. The thread ends with the call, since it can't be
// used for anything else.
func outside(fn func() error) error {
	if !InNamespaces() {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and no unlock: the runtime then ends the thread
		if err := unix.Setns(outerNetFd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("testprog: enter the outer network namespace: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// ModuleRoot returns the directory of go.mod, going up from the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("testprog: no go.mod above the working directory")
		}
		dir = up
	}
}
