// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// contents reads a file of the test from its start.
func contents(t *testing.T, fd int, n int) string {
	t.Helper()
	buf := make([]byte, n)
	m, err := unix.Pread(fd, buf, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:m])
}

// received reads what is there now.
func received(t *testing.T, fd int) string {
	t.Helper()
	buf := make([]byte, 1<<20)
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EAGAIN) {
		return "(nothing)"
	}
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return string(buf[:n])
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestFiles(t *testing.T) {
	x, s, fds := roundTrip(t, "files", nil, nil)
	if fds[x.number("a")] != fds[x.number("dup")] {
		t.Error("duplicates are two open files")
	}
	want(t, "contents", contents(t, fds[x.number("a")], 100), "hello world\n")
	table, err := s.Table(2)
	if err != nil {
		t.Fatal(err)
	}
	if e := entryAt(table, x.number("dup")); !e.CloseOnExec {
		t.Error("close-on-exec lost")
	}
	if e := entryAt(table, x.number("a")); e.CloseOnExec {
		t.Error("close-on-exec gained")
	}
}

func TestFileChanges(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"size":    func(p string) error { return os.WriteFile(p, []byte("longer than before, and different"), 0o640) },
		"mode":    func(p string) error { return os.Chmod(p, 0o600) },
		"removed": os.Remove,
		"fifo": func(p string) error {
			return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o640))
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := start(t, "files")
			dir, err := x.dump(nil)
			if err != nil {
				t.Fatal(err)
			}
			x.kill()
			if err := change(x.dir + "/renamed"); err != nil {
				t.Fatal(err)
			}
			_, _, err = load(t, dir, nil)
			if err == nil || !strings.Contains(err.Error(), x.dir+"/renamed") {
				t.Fatalf("restored, or an error that does not name the file: %v", err)
			}
			if name == "removed" && !errors.Is(err, os.ErrNotExist) || name != "removed" && !errors.Is(err, ErrChanged) {
				t.Errorf("wrong error: %v", err)
			}
		})
	}
}

func TestGhosts(t *testing.T) {
	x, s, fds := roundTripAllowing(t, "ghosts", nil, nil, "taken")
	want(t, "ghost", contents(t, fds[x.number("g")], 100), "ghostly")
	want(t, "tmpfile", contents(t, fds[x.number("tmp")], 100), "tmp")
	want(t, "in a deleted directory", contents(t, fds[x.number("deep")], 100), "deep")
	want(t, "name taken", contents(t, fds[x.number("taken")], 100), "old")
	buf := make([]byte, 6)
	if _, err := unix.Pread(fds[x.number("sparse")], buf, 1<<39); err != nil || string(buf) != "middle" {
		t.Errorf("sparse: %q, %v", buf, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fds[x.number("sparse")], &st); err != nil || st.Blocks > 100 {
		t.Errorf("sparse file has %d blocks, %v", st.Blocks, err)
	}
	want(t, "fifo", received(t, fds[x.number("fifo")]), "in fifo")
	var a, b unix.Stat_t
	_ = unix.Fstat(fds[x.number("g")], &a)
	_ = unix.Fstat(fds[x.number("r")], &b)
	if a.Ino != b.Ino {
		t.Error("two descriptors of one deleted file are of two files")
	}
	keep, err := unix.FcntlInt(uintptr(fds[x.number("g")]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(keep)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Fstat(keep, &a); err != nil || a.Nlink != 0 {
		t.Errorf("deleted file has %d links, %v", a.Nlink, err)
	}
	left, _ := filepath.Glob(x.dir + "/*")
	if len(left) != 1 || filepath.Base(left[0]) != "taken" {
		t.Errorf("left in the directory: %v", left)
	}
	if b, _ := os.ReadFile(x.dir + "/taken"); string(b) != "new file" {
		t.Errorf("the file with the taken name is %q now", b)
	}
}

func TestGhostLimit(t *testing.T) {
	x := start(t, "ghosts")
	_, err := x.dump(&Options{GhostLimit: 1})
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "--ghost-limit") {
		t.Errorf("got %v", err)
	}
}

func TestHardlink(t *testing.T) {
	x := start(t, "hardlink")
	if _, err := x.dump(nil); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "--link-remap") {
		t.Errorf("without --link-remap: %v", err)
	}
	x.kill()
	x, s, fds := roundTripAllowing(t, "hardlink", &Options{LinkRemap: true}, nil, "h")
	want(t, "contents", contents(t, fds[x.number("h")], 10), "linked")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	left, _ := filepath.Glob(x.dir + "/*")
	if len(left) != 1 || filepath.Base(left[0]) != "two" {
		t.Errorf("left in the directory: %v", left)
	}
}

func TestPipes(t *testing.T) {
	x, s, fds := roundTrip(t, "pipes", nil, nil)
	want(t, "pipe", received(t, fds[x.number("again")]), "pipe data")
	if n, err := unix.FcntlInt(uintptr(fds[x.number("w")]), unix.F_GETPIPE_SZ, 0); n != 1<<17 {
		t.Errorf("size of the pipe is %d, %v", n, err)
	}
	if n, err := unix.FcntlInt(uintptr(fds[x.number("r")]), fGetSig, 0); n != int(unix.SIGUSR1) {
		t.Errorf("signal is %d, %v", n, err)
	}
	for _, p := range []string{"pk1", "packet2", "3"} {
		want(t, "packet", received(t, fds[x.number("kr")]), p)
	}
	if n := len(received(t, fds[x.number("full")])); n != 65536 {
		t.Errorf("full pipe holds %d bytes", n)
	}
	if _, err := unix.Write(fds[x.number("fullw")], []byte("x")); err != nil {
		t.Errorf("other end: %v", err)
	}
	want(t, "FIFO", received(t, fds[x.number("fr")]), "fifodata")
	// The ends that nobody has are closed with the Set.
	one, err := unix.FcntlInt(uintptr(fds[x.number("one")]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(one)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	want(t, "one-ended", received(t, one), "last words")
	want(t, "one-ended", received(t, one), "")
}

func TestEvents(t *testing.T) {
	x, _, fds := roundTrip(t, "events", nil, nil)
	get := func(name string) (v unix.ItimerSpec) {
		if err := unix.TimerfdGettime(fds[x.number(name)], &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := get("t1"); v.Value.Sec < 900 || v.Value.Sec > 1000 || v.Interval.Sec != 5 {
		t.Errorf("relative timer: %+v", v)
	}
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &now)
	if v := get("t2"); v.Value.Sec+now.Sec < 4102444700 || v.Value.Sec+now.Sec > 4102444900 {
		t.Errorf("absolute timer: %+v", v)
	}
	buf := make([]byte, 8)
	if _, err := unix.Read(fds[x.number("t3")], buf); err != nil || !bytes.Equal(buf, []byte{1, 0, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("ticks %v, %v", buf, err)
	}
	if v := get("t3"); v.Value.Sec < 900 || v.Interval.Sec != 1000 {
		t.Errorf("periodic timer that had expired is not armed again: %+v", v)
	}
	if v := get("t4"); v != (unix.ItimerSpec{}) {
		t.Errorf("disarmed timer: %+v", v)
	}
}

func TestMemfd(t *testing.T) {
	x, s, fds := roundTrip(t, "memfd", nil, nil)
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	m := fds[x.number("m")]
	for off, v := range map[int64]string{8192: "memfd", 1<<30 - 3: "end", 0: "\x00\x00\x00"} {
		buf := make([]byte, len(v))
		if _, err := unix.Pread(m, buf, off); err != nil || string(buf) != v {
			t.Errorf("at %d: %q, %v", off, buf, err)
		}
	}
	seals, err := unix.FcntlInt(uintptr(m), unix.F_GET_SEALS, 0)
	if seals != unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL {
		t.Errorf("seals %#x, %v", seals, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(m, &st); err != nil || st.Blocks > 64 || st.Uid != 3 || st.Gid != 4 {
		t.Errorf("memfd: %d blocks, owner %d:%d, %v", st.Blocks, st.Uid, st.Gid, err)
	}
	want(t, "odd size", contents(t, fds[x.number("odd")], 100), "not a whole page")
}

func TestLocks(t *testing.T) {
	x := start(t, "locks")
	if _, err := x.dump(nil); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "--file-locks") {
		t.Errorf("without --file-locks: %v", err)
	}
	x.kill()
	x, s, fds := roundTrip(t, "locks", &Options{FileLocks: true}, &RestoreOptions{FileLocks: true})
	table, err := s.Table(2)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := s.Remotes([]Process{{Pid: x.task.VPid, Table: table}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(calls[x.task.VPid]); n < 2 {
		t.Errorf("%d calls for two POSIX locks: %+v", n, calls)
	}
	other, err := unix.Open(x.dir+"/flock", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if err := unix.Flock(other, unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("flock is free: %v", err)
	}
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: 20, Len: 1}
	p, err := unix.Open(x.dir+"/locked", unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p)
	if err := unix.FcntlFlock(uintptr(p), unix.F_OFD_GETLK, &l); err != nil || l.Type != unix.F_WRLCK {
		t.Errorf("OFD lock is free: %+v, %v", l, err)
	}
	_ = fds
}

func TestRefusals(t *testing.T) {
	for name, hint := range map[string]string{"iouring": "io_uring", "tcp": "--tcp-close"} {
		t.Run(name, func(t *testing.T) {
			x := start(t, name)
			if x.says == "none" {
				t.Log("this kernel has no io_uring for us; nothing to refuse")
				return
			}
			_, err := x.dump(nil)
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), "fd ") {
				t.Errorf("dump: %v", err)
			}
			if err := Precheck([]*Task{x.task}, nil); !errors.Is(err, ErrUnsupported) {
				t.Errorf("precheck: %v", err)
			}
		})
	}
}
