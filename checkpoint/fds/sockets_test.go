// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/trapline/trapline/checkpoint/procfs"
	"golang.org/x/sys/unix"
)

func TestUnixSockets(t *testing.T) {
	x, s, fds := roundTrip(t, "unix", nil, nil)
	got := func(name, v string) {
		t.Helper()
		fd := fds[x.number(name)]
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		want(t, name, received(t, fd), v)
	}
	got("b", "streamdata")
	got("a", "") // its peer has shut down writing
	got("d2", "dgram1")
	got("d2", "")
	got("d2", "dg3")
	got("d1", "back")
	got("q2", "seq1")
	got("q2", "sq2")
	got("acc", "early")
	got("c", "welcome")
	got("bd", "to bound")
	for _, p := range [][2]string{{"d1", "d2"}, {"q1", "q2"}, {"acc", "c"}, {"c", "acc"}, {"aa", "ac"}, {"cd", "bd"}} {
		if err := unix.Send(fds[x.number(p[0])], []byte("again"), unix.MSG_DONTWAIT); err != nil {
			t.Errorf("%s to %s: %v", p[0], p[1], err)
		}
		got(p[1], "again")
	}
	if err := unix.Send(fds[x.number("b")], []byte("x"), unix.MSG_NOSIGNAL); !errors.Is(err, unix.EPIPE) {
		t.Errorf("end that had shut down writing: %v", err)
	}
	abstract := "@trapline-test-" + filepath.Base(filepath.Dir(x.dir))
	for n, addr := range map[string]string{"l": "sock", "acc": "sock", "aa": abstract, "al": abstract, "bd": x.dir + "/dgram", "del": x.dir + "/deleted"} {
		sa, err := unix.Getsockname(fds[x.number(n)])
		if err != nil {
			t.Fatal(err)
		}
		want(t, "address of "+n, sa.(*unix.SockaddrUnix).Name, addr)
	}
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	if err := unix.Connect(c, &unix.SockaddrUnix{Name: x.dir + "/sock"}); err != nil {
		t.Errorf("listening socket: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(x.dir+"/sock", &st); err != nil || st.Mode&0o777 != 0o640 {
		t.Errorf("socket file: mode %#o, %v", st.Mode, err)
	}
	fresh := fds[x.number("fresh")]
	if v, err := unix.GetsockoptInt(fresh, unix.SOL_SOCKET, unix.SO_SNDBUF); v != 2*9999 {
		t.Errorf("SO_SNDBUF is %d, %v", v, err)
	}
	if v, err := unix.GetsockoptInt(fresh, unix.SOL_SOCKET, unix.SO_PASSCRED); v != 1 {
		t.Errorf("SO_PASSCRED is %d, %v", v, err)
	}
	half, err := unix.FcntlInt(uintptr(fds[x.number("half")]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(half)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	want(t, "peer gone", received(t, half), "farewell")
	want(t, "peer gone", received(t, half), "")
	left, _ := filepath.Glob(x.dir + "/*")
	for _, f := range left {
		if b := filepath.Base(f); b != "sock" && b != "dgram" {
			t.Errorf("left in the directory: %s", f)
		}
	}
	if left, _ := filepath.Glob(x.dir + "/.trapline*"); len(left) > 0 {
		t.Errorf("left in the directory: %s", left)
	}
}

func TestUnixAbort(t *testing.T) {
	x := start(t, "unix")
	dir, err := x.dump(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := load(t, dir, nil); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("restored beside the running target: %v", err)
	}
	x.kill()
	ino := func() uint64 {
		var st unix.Stat_t
		if err := unix.Stat(x.dir+"/sock", &st); err != nil {
			t.Error(err)
		}
		return st.Ino
	}
	before := ino()
	s, _, err := load(t, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ino() == before {
		t.Error("socket file is the old one")
	}
	s.Abort()
	if ino() != before {
		t.Error("the old socket file is not back")
	}
}

func TestRights(t *testing.T) {
	x, _, fds := roundTrip(t, "rights", nil, nil)
	receive := func(fd int) (string, []int) {
		t.Helper()
		p, c := make([]byte, 100), make([]byte, 1000)
		n, cn, _, _, err := unix.Recvmsg(fd, p, c, unix.MSG_DONTWAIT)
		if err != nil {
			t.Fatal(err)
		}
		var fds []int
		m, err := unix.ParseSocketControlMessage(c[:cn])
		if err != nil {
			t.Fatal(err)
		}
		for i := range m {
			r, err := unix.ParseUnixRights(&m[i])
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, r...)
		}
		t.Cleanup(func() { closeAll(fds) })
		return string(p[:n]), fds
	}
	data, r := receive(fds[x.number("b")])
	for len(r) == 0 {
		more, got := receive(fds[x.number("b")])
		data, r = data+more, got
	}
	want(t, "stream", data, "ABX")
	if len(r) != 2 {
		t.Fatalf("%d descriptors", len(r))
	}
	if n, err := kcmp(os.Getpid(), r[0], os.Getpid(), fds[x.number("e")]); n != 0 || err != nil {
		t.Errorf("the eventfd that was sent is another: %d, %v", n, err)
	}
	want(t, "pipe that was sent", received(t, r[1]), "in flight")
	data, _ = receive(fds[x.number("b")])
	want(t, "stream", data, "CD")
	data, r = receive(fds[x.number("o2")])
	want(t, "datagram", data, "sockets")
	if len(r) != 2 {
		t.Fatalf("%d sockets", len(r))
	}
	want(t, "socket that was sent", received(t, r[1]), "inner")
}

func TestInetSockets(t *testing.T) {
	x := start(t, "inet")
	x.look()
	names := []string{"l4", "l6", "bound", "fresh", "u", "cu", "u6"}
	type opt struct{ level, opt int }
	opts := []opt{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR},
		{unix.SOL_SOCKET, unix.SO_REUSEPORT},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		{unix.SOL_SOCKET, unix.SO_RCVBUF},
		{unix.SOL_SOCKET, unix.SO_SNDBUF},
		{unix.SOL_SOCKET, unix.SO_BROADCAST},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		{unix.IPPROTO_IP, unix.IP_TOS},
		{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY},
		{unix.SOL_SOCKET, unix.SO_ACCEPTCONN},
		{unix.SOL_SOCKET, soBufLock},
	}
	look := func(fd int) string {
		var b strings.Builder
		for _, get := range []func(int) (unix.Sockaddr, error){unix.Getsockname, unix.Getpeername} {
			sa, err := get(fd)
			switch sa := sa.(type) {
			case *unix.SockaddrInet4:
				fmt.Fprint(&b, sa.Addr, sa.Port, err)
			case *unix.SockaddrInet6:
				fmt.Fprint(&b, sa.Addr, sa.Port, sa.ZoneId, err)
			default:
				fmt.Fprint(&b, err)
			}
		}
		for _, o := range opts {
			v, err := unix.GetsockoptInt(fd, o.level, o.opt)
			fmt.Fprintf(&b, " %d:%d=%d,%v", o.level, o.opt, v, err)
		}
		if i, err := readTCPInfo(fd); err == nil && i.State == tcpListen {
			fmt.Fprintf(&b, " backlog %d", i.Sacked)
		}
		return b.String()
	}
	before := map[string]string{}
	pidfd, err := unix.PidfdOpen(x.task.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	for _, n := range names {
		fd, err := unix.PidfdGetfd(pidfd, x.number(n), 0)
		if err != nil {
			t.Fatal(err)
		}
		before[n] = look(fd)
		_ = unix.Close(fd)
	}
	dir, err := x.dump(nil)
	if err != nil {
		t.Fatal(err)
	}
	x.kill()
	_, fds, err := load(t, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.compare(fds)
	for _, n := range names {
		want(t, n, look(fds[x.number(n)]), before[n])
	}
}

func TestTCPClose(t *testing.T) {
	x := start(t, "tcp")
	x.look()
	dir, err := x.dump(&Options{TCPClose: true})
	if err != nil {
		t.Fatal(err)
	}
	x.kill()
	if _, _, err := load(t, dir, nil); err == nil || !strings.Contains(err.Error(), "--tcp-close") {
		t.Errorf("without --tcp-close: %v", err)
	}
	_, fds, err := load(t, dir, &RestoreOptions{TCPClose: true})
	if err != nil {
		t.Fatal(err)
	}
	x.compare(fds)
	if _, err := unix.Read(fds[x.number("c")], make([]byte, 1)); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("closed connection: read gave %v", err)
	}
}

// applied is what a process of the restored tree does: descriptors to their numbers, then the calls.
type applied struct {
	FDs   map[int]int // number of the file among the extra files, to its number
	Calls []Remote
	Show  []int
}

func init() {
	targets["apply"] = func(string) (string, error) {
		var a applied
		if err := json.Unmarshal([]byte(os.Getenv("TRAPLINE_FDS_APPLY")), &a); err != nil {
			return "", err
		}
		for i := range a.FDs {
			must(-1, unix.Dup3(3+i, 1000+i, unix.O_CLOEXEC))
		}
		for i, n := range a.FDs {
			must(-1, unix.Dup3(1000+i, n, 0))
		}
		for _, c := range a.Calls {
			if len(c.Data) > 0 {
				c.Args[c.DataArg] = uint64(uintptr(unsafe.Pointer(&c.Data[0])))
			}
			_, _, errno := unix.RawSyscall6(c.Nr, uintptr(c.Args[0]), uintptr(c.Args[1]), uintptr(c.Args[2]), uintptr(c.Args[3]), uintptr(c.Args[4]), uintptr(c.Args[5]))
			if errno != 0 {
				return "", fmt.Errorf("%s: %w", c.What, errno)
			}
		}
		self, err := procfs.Open(os.Getpid())
		if err != nil {
			return "", err
		}
		infos := map[int]*procfs.FDInfo{}
		for _, n := range a.Show {
			if infos[n], err = self.FDInfo(n); err != nil {
				return "", err
			}
		}
		out, err := json.Marshal(infos)
		return string(out), err
	}
}

func TestEpoll(t *testing.T) {
	x, s, fds := roundTrip(t, "epoll", nil, nil)
	table, err := s.Table(2)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := s.Remotes([]Process{{Pid: 77, Table: table}})
	if err != nil {
		t.Fatal(err)
	}
	// The Go runtime of the target has an epoll instance of its own, which the one of the process that applies must not
	// be mixed with: numbers below 100 are moved up by a hundred.
	const up = 200
	shift := func(n uint64) uint64 {
		if n < 100 {
			return n + up
		}
		return n
	}
	a := applied{FDs: map[int]int{}}
	cmd := exec.Command("/proc/self/exe", "x")
	for _, e := range table {
		a.FDs[len(cmd.ExtraFiles)] = int(shift(uint64(e.FD)))
		dup, err := unix.FcntlInt(uintptr(fds[e.FD]), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(dup), "")
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	for _, c := range calls[77] {
		for i := range c.Args {
			if c.Nr == unix.SYS_EPOLL_CTL && i == 1 || c.Nr == unix.SYS_DUP3 && i == 2 || c.Nr == unix.SYS_CLOSE && i > 0 || i == c.DataArg && len(c.Data) > 0 {
				continue
			}
			c.Args[i] = shift(c.Args[i])
		}
		a.Calls = append(a.Calls, c)
	}
	e, outer := int(shift(uint64(x.number("e")))), int(shift(uint64(x.number("outer"))))
	a.Show = []int{e, outer}
	arg, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), targetEnv+"=apply", "TRAPLINE_FDS_APPLY="+string(arg))
	var out bytes.Buffer
	pr, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	buf := make([]byte, 64<<10)
	for !bytes.Contains(out.Bytes(), []byte("\n")) {
		n, err := pr.Read(buf)
		if err != nil {
			t.Fatalf("%v: %s", err, out.Bytes())
		}
		out.Write(buf[:n])
	}
	text, ok := strings.CutPrefix(out.String(), "ready ")
	infos := map[int]*procfs.FDInfo{}
	if err := json.Unmarshal([]byte(text), &infos); !ok || err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	show := func(info *procfs.FDInfo, up int) string {
		lines := []string{}
		for _, t := range info.Epoll {
			n := t.FD
			if n >= up && n < up+100 {
				n -= up
			}
			lines = append(lines, fmt.Sprintf("%d: %#x %#x", n, t.Events, t.Data))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	want(t, "epoll", show(infos[e], up), show(x.infos[x.number("e")], 1<<20))
	want(t, "outer epoll", show(infos[outer], up), show(x.infos[x.number("outer")], 1<<20))
}
