// SPDX-License-Identifier: Apache-2.0

package testprog

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Marker is the environment variable that every process of a target carries, so that a test can end all of them, also
// those in other sessions and those that a failed restore left.
const Marker = "TRAPLINE_TEST_DIR"

// Patience is how long a test waits for a target to be ready or to answer: far longer than it takes, on any machine.
const Patience = 40 * time.Second

// A Target is a running test program.
type Target struct {
	Dir string // its working directory, with the FIFOs and its log
	Pid int

	t       testing.TB
	out     *os.File // read and write end of the FIFO "out"
	closes  *os.File // inotify: somebody closed "out" after writing
	open    int      // lines read without the close that follows each
	scanner *bufio.Reader
}

// Options of Start. The zero value is usual.
type Options struct {
	Env  []string               // added to the environment
	Attr *syscall.SysProcAttr   // default: a session of its own
	Prep func(dir string) error // runs before the program, in its working directory
	Wrap func(cmd *exec.Cmd)    // last changes to the command
}

// Start runs a program in a new directory below t.TempDir, with no terminal and nothing open that leads outside:
// standard input is /dev/null, output goes to the file "log". Everything that belongs to it is killed when the test ends.
func Start(t testing.TB, path string, args []string, o *Options) *Target {
	t.Helper()
	if o == nil {
		o = &Options{}
	}
	// The default TempDir has mode 0700 parents on the way for a target that changes its uid.
	dir, err := os.MkdirTemp("", "target-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cmd", "out"} {
		p := filepath.Join(dir, name)
		if err := unix.Mkfifo(p, 0o666); err != nil {
			t.Fatalf("mkfifo %s: %v", p, err)
		}
		if err := os.Chmod(p, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.OpenFile(filepath.Join(dir, "out"), os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	closes, err := watchCloses(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes.Close() })
	if o.Prep != nil {
		if err := o.Prep(dir); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	t.Cleanup(func() {
		if t.Failed() {
			if text, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && len(text) > 0 {
				t.Logf("log of the target:\n%s", tail(string(text), 40))
			}
		}
	})

	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + dir, Marker + "=" + dir}, o.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = o.Attr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if o.Wrap != nil {
		o.Wrap(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	tgt := &Target{Dir: dir, Pid: cmd.Process.Pid, t: t, out: out, closes: closes, scanner: bufio.NewReader(out)}
	t.Cleanup(func() { KillMarked(t, dir) })
	go func() {
		err := cmd.Wait()
		tgt.announce(cmd.ProcessState, err)
	}()
	return tgt
}

// announce puts the end of the root process into the stream of its answers, after everything that it wrote.
func (tgt *Target) announce(st *os.ProcessState, err error) {
	text := "exited"
	if st != nil {
		text += " " + st.String()
	} else if err != nil {
		text += " " + err.Error()
	}
	// After the test's end the FIFO is closed; nobody is left to read this then.
	_, _ = fmt.Fprintln(tgt.out, text)
}

// Adopt takes over a restored root process: its end is seen from now on like that of a started one.
func (tgt *Target) Adopt(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("restored process %d: %w", pid, err)
	}
	tgt.Pid = pid
	go func() {
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		tgt.announce(nil, nil)
	}()
	return nil
}

// Read returns the next line that the target wrote, or "exited …" when its root process has ended.
func (tgt *Target) Read() (string, error) {
	if err := tgt.out.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return "", fmt.Errorf("target %d: %w", tgt.Pid, err)
	}
	line, err := tgt.scanner.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("target %d says nothing for %v: %w\n%s", tgt.Pid, Patience, err, tgt.where())
	}
	line = strings.TrimSuffix(line, "\n")
	if !strings.HasPrefix(line, "exited") {
		tgt.open++
	}
	return line, nil
}

// watchCloses returns a descriptor to read an event from for each close of a writer.
func watchCloses(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("testprog: inotify: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_CLOSE_WRITE); err != nil {
		f.Close()
		return nil, fmt.Errorf("testprog: watch %s: %w", path, err)
	}
	return f, nil
}

// quiet waits until the writer of every line that was read has closed the FIFO, which a dump would else find open.
func (tgt *Target) quiet() error {
	// Two events that nobody read in between become one, so the queue is read until it is empty.
	buf := make([]byte, 4096)
	if tgt.open == 0 {
		return nil
	}
	tgt.open = 0
	if err := tgt.closes.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return fmt.Errorf("target %d: %w", tgt.Pid, err)
	}
	if _, err := tgt.closes.Read(buf); err != nil {
		return fmt.Errorf("target %d keeps its FIFO open: %w", tgt.Pid, err)
	}
	return nil
}

// where tells what the threads of a silent target are doing.
func (tgt *Target) where() string {
	var b strings.Builder
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", tgt.Pid))
	for i, d := range dirs {
		if i == 8 {
			fmt.Fprintf(&b, "… %d threads\n", len(dirs))
			break
		}
		stat, _ := os.ReadFile(d + "/stat")
		call, _ := os.ReadFile(d + "/syscall")
		fmt.Fprintf(&b, "%.60s syscall %s", stat, call)
		b.WriteByte('\n')
	}
	return b.String()
}

// Ready waits until the target has set everything up.
func (tgt *Target) Ready() {
	tgt.t.Helper()
	err := tgt.expect("ready")
	if err == nil {
		err = tgt.quiet()
	}
	if err != nil {
		tgt.t.Fatal(err)
	}
}

func (tgt *Target) expect(want string) error {
	line, err := tgt.Read()
	if err != nil {
		return err
	}
	if line != want && !strings.HasPrefix(line, want+" ") {
		return fmt.Errorf("target %d: expected %q, seen %q", tgt.Pid, want, line)
	}
	return nil
}

// Gone waits for the end of the root process.
func (tgt *Target) Gone() error { return tgt.expect("exited") }

// Send gives the target a command. It blocks until the target opens its FIFO, at most Patience.
func (tgt *Target) Send(command string) error {
	path := filepath.Join(tgt.Dir, "cmd")
	type opened struct {
		f   *os.File
		err error
	}
	ch := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		ch <- opened{f, err}
	}()
	select {
	case o := <-ch:
		if o.err != nil {
			return fmt.Errorf("target %d: %w", tgt.Pid, o.err)
		}
		defer o.f.Close()
		if _, err := fmt.Fprintln(o.f, command); err != nil {
			return fmt.Errorf("target %d: send %q: %w", tgt.Pid, command, err)
		}
		return nil
	case <-time.After(Patience):
		where := tgt.where()
		// A reader of our own lets the blocked open return.
		if f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
			defer f.Close()
			if o := <-ch; o.f != nil {
				o.f.Close()
			}
		}
		return fmt.Errorf("target %d does not take the command %q for %v\n%s", tgt.Pid, command, Patience, where)
	}
}

// Verdict has the target check itself. The error lists what it found wrong.
func (tgt *Target) Verdict() error {
	if err := tgt.Send("check"); err != nil {
		return err
	}
	return tgt.ReadVerdict()
}

// ReadVerdict reads the lines of a verdict.
func (tgt *Target) ReadVerdict() error {
	var fails []string
	for {
		line, err := tgt.Read()
		switch {
		case err != nil:
			return err
		case line == "ok" && len(fails) == 0:
			return nil
		case line == "ok" || line == "failed":
			return errors.New(strings.Join(fails, "\n"))
		case strings.HasPrefix(line, "exited"):
			return fmt.Errorf("%s\nthe target ended before its verdict: %s", strings.Join(fails, "\n"), line)
		default:
			fails = append(fails, line)
		}
	}
}

// KillMarked ends every process that carries the marker, waits until they are gone, and returns how many there were.
func KillMarked(t testing.TB, marker string) int {
	t.Helper()
	total := 0
	// Several rounds, since a process may fork while the list is read.
	for range 20 {
		pids := Marked(marker)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			if kill(pid, marker) {
				total++
			}
		}
	}
	return total
}

// Marked lists the processes that carry the marker in their environment or are in the directory that it names.
func Marked(marker string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid <= 1 || pid == os.Getpid() {
			continue
		}
		if marked(pid, marker) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A program that writes a title over its environment still has its working directory.
func marked(pid int, marker string) bool {
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && (cwd == marker || strings.HasPrefix(cwd, marker+"/")) {
		return true
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && strings.Contains("\x00"+string(env), "\x00"+Marker+"="+marker+"\x00")
}

// LeftAlive waits until no process carries the marker any more, at most limit, and returns those that still do.
func LeftAlive(marker string, limit time.Duration) []int {
	deadline := time.Now().Add(limit)
	for {
		pids := Marked(marker)
		rest := time.Until(deadline)
		if len(pids) == 0 || rest <= 0 {
			return pids
		}
		fd, err := unix.PidfdOpen(pids[0], 0)
		if err != nil {
			continue
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(rest.Milliseconds())+1)
		unix.Close(fd)
	}
}

// Discard ends a target before the end of its test.
func (tgt *Target) Discard() { KillMarked(tgt.t, tgt.Dir) }

// kill ends one process through a pidfd, so that never a process is hit that got the number meanwhile.
func kill(pid int, marker string) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if !marked(pid, marker) {
		return false
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return false
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
	return true
}
