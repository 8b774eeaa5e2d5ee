// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// targets are what targets open, by the name of the test. Each returns what the test has to know.
var targets = map[string]func(dir string) (string, error){
	"files":    openFiles,
	"ghosts":   openGhosts,
	"hardlink": openHardlink,
	"pipes":    openPipes,
	"events":   openEvents,
	"epoll":    openEpolls,
	"memfd":    openMemfds,
	"unix":     openUnixSockets,
	"rights":   openRights,
	"inet":     openInetSockets,
	"tcp":      openConnection,
	"locks":    openLocks,
	"iouring":  openIOUring,
	"many":     openMany,
}

// must ends a chain of calls that return a descriptor.
func must(fd int, err error) int {
	if err != nil {
		panic(err)
	}
	return fd
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// say makes "a=3 b=4" of names and numbers.
func say(pairs ...any) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%v=%v ", pairs[i], pairs[i+1])
	}
	return b.String()
}

// number is the descriptor that the target called name.
func (x *target) number(name string) int {
	x.t.Helper()
	for _, f := range strings.Fields(x.says) {
		if v, ok := strings.CutPrefix(f, name+"="); ok {
			var n int
			if _, err := fmt.Sscan(v, &n); err != nil {
				x.t.Fatal(err)
			}
			return n
		}
	}
	x.t.Fatalf("target has no %q in %q", name, x.says)
	return -1
}

func openFiles(dir string) (string, error) {
	check(os.WriteFile(dir+"/reg", []byte("hello world\n"), 0o640))
	a := must(unix.Open(dir+"/reg", unix.O_RDWR|unix.O_APPEND, 0))
	must2(unix.Seek(a, 3, 0))
	d := must(unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, 0))
	p := must(unix.Open(dir+"/reg", unix.O_PATH, 0))
	pd := must(unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0))
	dd := must(unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0))
	w := must(unix.Open(dir+"/reg", unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_SYNC, 0))
	check(os.Rename(dir+"/reg", dir+"/renamed"))
	for _, f := range []string{"/dev/null", "/dev/zero", "/dev/urandom", "/dev/full"} {
		must(unix.Open(f, unix.O_RDONLY|unix.O_CLOEXEC, 0))
	}
	must(unix.Open("/proc/meminfo", unix.O_RDONLY, 0))
	must(unix.Open("/sys/kernel/mm/transparent_hugepage/enabled", unix.O_RDONLY, 0))
	l := dir + "/link"
	check(os.Symlink("renamed", l))
	must(unix.Open(l, unix.O_PATH|unix.O_NOFOLLOW, 0))
	return say("a", a, "dup", d, "path", p, "dirpath", pd, "dir", dd, "write", w), nil
}

func must2(_ int64, err error) { check(err) }

func openGhosts(dir string) (string, error) {
	g := must(unix.Open(dir+"/ghost", unix.O_RDWR|unix.O_CREAT, 0o604))
	must(unix.Write(g, []byte("ghostly")))
	check(unix.Fchown(g, 12, 34))
	check(unix.Fchmod(g, 0o4755))
	r := must(unix.Open(dir+"/ghost", unix.O_RDONLY, 0))
	check(os.Remove(dir + "/ghost"))
	s := must(unix.Open(dir+"/sparse", unix.O_RDWR|unix.O_CREAT, 0o600))
	check(unix.Ftruncate(s, 1<<40))
	must(unix.Pwrite(s, []byte("middle"), 1<<39))
	check(os.Remove(dir + "/sparse"))
	check(os.MkdirAll(dir+"/gone/deeper", 0o750))
	in := must(unix.Open(dir+"/gone/deeper/file", unix.O_RDWR|unix.O_CREAT, 0o600))
	must(unix.Write(in, []byte("deep")))
	gd := must(unix.Open(dir+"/gone", unix.O_RDONLY|unix.O_DIRECTORY, 0))
	check(os.RemoveAll(dir + "/gone"))
	tmp := must(unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600))
	must(unix.Write(tmp, []byte("tmp")))
	check(unix.Mkfifo(dir+"/fifo", 0o600))
	f := must(unix.Open(dir+"/fifo", unix.O_RDWR, 0))
	must(unix.Write(f, []byte("in fifo")))
	check(os.Remove(dir + "/fifo"))
	// The name is taken by another file now.
	n := must(unix.Open(dir+"/taken", unix.O_RDWR|unix.O_CREAT, 0o600))
	must(unix.Write(n, []byte("old")))
	check(os.Remove(dir + "/taken"))
	check(os.WriteFile(dir+"/taken", []byte("new file"), 0o600))
	return say("g", g, "r", r, "sparse", s, "deep", in, "dir", gd, "tmp", tmp, "fifo", f, "taken", n), nil
}

func openHardlink(dir string) (string, error) {
	h := must(unix.Open(dir+"/one", unix.O_RDWR|unix.O_CREAT, 0o600))
	must(unix.Write(h, []byte("linked")))
	check(os.Link(dir+"/one", dir+"/two"))
	check(os.Remove(dir + "/one"))
	return say("h", h), nil
}

func openPipes(dir string) (string, error) {
	var p, k, full, one, lost [2]int
	check(unix.Pipe2(p[:], unix.O_NONBLOCK))
	must(unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 1<<17))
	must(unix.Write(p[1], []byte("pipe data")))
	check(unix.Pipe2(k[:], unix.O_DIRECT|unix.O_CLOEXEC))
	for _, s := range []string{"pk1", "packet2", "3"} {
		must(unix.Write(k[1], []byte(s)))
	}
	check(unix.Pipe2(full[:], unix.O_NONBLOCK))
	must(unix.Write(full[1], make([]byte, 65536)))
	check(unix.Pipe(one[:]))
	must(unix.Write(one[1], []byte("last words")))
	check(unix.Close(one[1]))
	check(unix.Pipe(lost[:]))
	check(unix.Close(lost[0]))
	again := must(unix.Open(fmt.Sprintf("/proc/self/fd/%d", p[0]), unix.O_RDWR, 0))
	check(unix.Mkfifo(dir+"/fifo", 0o644))
	f := must(unix.Open(dir+"/fifo", unix.O_RDWR, 0))
	must(unix.Write(f, []byte("fifodata")))
	fr := must(unix.Open(dir+"/fifo", unix.O_RDONLY|unix.O_NONBLOCK, 0))
	must(unix.FcntlInt(uintptr(p[0]), unix.F_SETSIG, int(unix.SIGUSR1)))
	return say("r", p[0], "w", p[1], "kr", k[0], "kw", k[1], "full", full[0], "fullw", full[1], "one", one[0], "lost", lost[1], "again", again, "f", f, "fr", fr), nil
}

func openEvents(string) (string, error) {
	a := must(unix.Eventfd(0, unix.EFD_SEMAPHORE|unix.EFD_NONBLOCK))
	must(unix.Write(a, []byte{7, 0, 0, 0, 9, 0, 0, 0}))
	b := must(unix.Eventfd(9, unix.EFD_CLOEXEC))
	t1 := must(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0))
	check(unix.TimerfdSettime(t1, 0, &unix.ItimerSpec{Value: unix.Timespec{Sec: 1000}, Interval: unix.Timespec{Sec: 5}}, nil))
	t2 := must(unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK))
	check(unix.TimerfdSettime(t2, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &unix.ItimerSpec{Value: unix.Timespec{Sec: 4102444800}}, nil))
	t3 := must(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK))
	check(unix.TimerfdSettime(t3, 0, &unix.ItimerSpec{Value: unix.Timespec{Nsec: 1}, Interval: unix.Timespec{Sec: 1000}}, nil))
	check(awaitReadable(t3))
	t4 := must(unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK))
	var set unix.Sigset_t
	set.Val[0] = 1<<9 | 1<<33
	s := must(unix.Signalfd(-1, &set, 0))
	return say("sem", a, "b", b, "t1", t1, "t2", t2, "t3", t3, "t4", t4, "s", s), nil
}

func openEpolls(string) (string, error) {
	e := must(unix.EpollCreate1(0))
	a := must(unix.Eventfd(0, unix.EFD_NONBLOCK))
	ev := func(n int32) *unix.EpollEvent {
		return &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: n, Pad: ^n}
	}
	check(unix.EpollCtl(e, unix.EPOLL_CTL_ADD, a, ev(1)))
	b := must(unix.Dup(a))
	check(unix.EpollCtl(e, unix.EPOLL_CTL_ADD, b, ev(2)))
	// Registered by a number that is closed since, and by one that is another file now.
	closed := must(unix.FcntlInt(uintptr(a), unix.F_DUPFD, 100))
	check(unix.EpollCtl(e, unix.EPOLL_CTL_ADD, closed, ev(3)))
	check(unix.Close(closed))
	other := must(unix.FcntlInt(uintptr(a), unix.F_DUPFD, 110))
	check(unix.EpollCtl(e, unix.EPOLL_CTL_ADD, other, ev(4)))
	c := must(unix.Eventfd(5, unix.EFD_NONBLOCK))
	check(unix.Dup3(c, other, unix.O_CLOEXEC))
	check(unix.EpollCtl(e, unix.EPOLL_CTL_ADD, other, ev(5)))
	outer := must(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	check(unix.EpollCtl(outer, unix.EPOLL_CTL_ADD, e, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 6}))
	return say("e", e, "a", a, "b", b, "closed", closed, "other", other, "outer", outer), nil
}

func openMemfds(string) (string, error) {
	m := must(unix.MemfdCreate("my mem", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC))
	check(unix.Ftruncate(m, 1<<30))
	must(unix.Pwrite(m, []byte("memfd"), 8192))
	must(unix.Pwrite(m, []byte("end"), 1<<30-3))
	must2(unix.Seek(m, 77, 0))
	check(unix.Fchmod(m, 0o640))
	check(unix.Fchown(m, 3, 4))
	ro := must(unix.Open(fmt.Sprintf("/proc/self/fd/%d", m), unix.O_RDONLY, 0))
	must(unix.FcntlInt(uintptr(m), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL))
	odd := must(unix.MemfdCreate("odd", unix.MFD_CLOEXEC))
	must(unix.Write(odd, []byte("not a whole page")))
	must(unix.MemfdCreate("empty", 0))
	return say("m", m, "ro", ro, "odd", odd), nil
}

func unixPair(typ int) (int, int) {
	p, err := unix.Socketpair(unix.AF_UNIX, typ, 0)
	check(err)
	return p[0], p[1]
}

func openUnixSockets(dir string) (string, error) {
	send := func(fd int, s ...string) {
		for _, v := range s {
			check(unix.Send(fd, []byte(v), 0))
		}
	}
	a, b := unixPair(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
	send(a, "stream", "data")
	check(unix.Shutdown(b, unix.SHUT_WR))
	big, _ := unixPair(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
	filled := 0
	for {
		n, err := unix.Write(big, make([]byte, 10000))
		if err != nil {
			break
		}
		filled += n
	}
	d1, d2 := unixPair(unix.SOCK_DGRAM | unix.SOCK_NONBLOCK)
	send(d1, "dgram1", "", "dg3")
	send(d2, "back")
	q1, q2 := unixPair(unix.SOCK_SEQPACKET)
	send(q1, "seq1", "sq2")
	half, gone := unixPair(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
	send(gone, "farewell")
	check(unix.Close(gone))
	l := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	check(os.Chdir(dir))
	check(unix.Bind(l, &unix.SockaddrUnix{Name: "sock"}))
	check(os.Chmod("sock", 0o640))
	check(unix.Listen(l, 5))
	c := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0))
	check(unix.Connect(c, &unix.SockaddrUnix{Name: dir + "/sock"}))
	send(c, "early")
	acc, _, err := unix.Accept(l)
	check(err)
	send(acc, "welcome")
	al := must(unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0))
	check(unix.Bind(al, &unix.SockaddrUnix{Name: "@trapline-test-" + filepath.Base(filepath.Dir(dir))}))
	check(unix.Listen(al, 7))
	ac := must(unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0))
	check(unix.Connect(ac, &unix.SockaddrUnix{Name: "@trapline-test-" + filepath.Base(filepath.Dir(dir))}))
	aa, _, err := unix.Accept(al)
	check(err)
	bd := must(unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0))
	check(unix.Bind(bd, &unix.SockaddrUnix{Name: dir + "/dgram"}))
	cd := must(unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0))
	check(unix.Connect(cd, &unix.SockaddrUnix{Name: dir + "/dgram"}))
	send(cd, "to bound")
	del := must(unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
	check(unix.Bind(del, &unix.SockaddrUnix{Name: dir + "/deleted"}))
	check(os.Remove(dir + "/deleted"))
	fresh := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	check(unix.SetsockoptInt(fresh, unix.SOL_SOCKET, unix.SO_SNDBUF, 9999))
	check(unix.SetsockoptInt(fresh, unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
	return say("a", a, "b", b, "big", big, "filled", filled, "d1", d1, "d2", d2, "q1", q1, "q2", q2, "half", half, "l", l, "c", c, "acc", acc,
		"al", al, "ac", ac, "aa", aa, "bd", bd, "cd", cd, "del", del, "fresh", fresh), nil
}

func openRights(string) (string, error) {
	a, b := unixPair(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
	e := must(unix.Eventfd(42, 0))
	var p [2]int
	check(unix.Pipe(p[:]))
	must(unix.Write(p[1], []byte("in flight")))
	check(unix.Send(a, []byte("AB"), 0))
	check(unix.Sendmsg(a, []byte("X"), unix.UnixRights(e, p[0]), nil, 0))
	check(unix.Send(a, []byte("CD"), 0))
	// Nobody has this end but the queue.
	check(unix.Close(p[0]))
	i1, i2 := unixPair(unix.SOCK_DGRAM)
	check(unix.Send(i1, []byte("inner"), 0))
	o1, o2 := unixPair(unix.SOCK_DGRAM | unix.SOCK_NONBLOCK)
	check(unix.Sendmsg(o1, []byte("sockets"), unix.UnixRights(i1, i2), nil, 0))
	check(unix.Close(i1))
	check(unix.Close(i2))
	return say("b", b, "e", e, "pw", p[1], "o2", o2), nil
}

func openInetSockets(string) (string, error) {
	tcp := func(domain int, sa unix.Sockaddr, backlog int, before func(fd int)) int {
		fd := must(unix.Socket(domain, unix.SOCK_STREAM, 0))
		if before != nil {
			before(fd)
		}
		check(unix.Bind(fd, sa))
		if backlog > 0 {
			check(unix.Listen(fd, backlog))
		}
		return fd
	}
	loop4 := [4]byte{127, 0, 0, 1}
	l4 := tcp(unix.AF_INET, &unix.SockaddrInet4{Addr: loop4}, 17, func(fd int) {
		for _, o := range [][3]int{
			{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
			{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 77},
			{unix.SOL_SOCKET, unix.SO_RCVBUF, 30000},
			{unix.IPPROTO_IP, unix.IP_TOS, 0x10},
		} {
			check(unix.SetsockoptInt(fd, o[0], o[1], o[2]))
		}
	})
	l6 := tcp(unix.AF_INET6, &unix.SockaddrInet6{}, 128, func(fd int) { check(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)) })
	bound := tcp(unix.AF_INET, &unix.SockaddrInet4{Addr: loop4}, 0, nil)
	fresh := must(unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0))
	u := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	check(unix.Bind(u, &unix.SockaddrInet4{Addr: loop4}))
	check(unix.SetsockoptInt(u, unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
	sa, err := unix.Getsockname(u)
	check(err)
	cu := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	check(unix.Connect(cu, sa))
	u6 := must(unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0))
	return say("l4", l4, "l6", l6, "bound", bound, "fresh", fresh, "u", u, "cu", cu, "u6", u6), nil
}

func openConnection(string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	c, err := net.Dial("tcp", l.Addr().String())
	check(err)
	keep = append(keep, l, c)
	a, err := l.Accept()
	check(err)
	keep = append(keep, a)
	f, err := c.(*net.TCPConn).SyscallConn()
	check(err)
	n := -1
	check(f.Control(func(fd uintptr) { n = int(fd) }))
	return say("c", n), nil
}

// keep saves what the finalizers of package net would close.
var keep []any

func openLocks(dir string) (string, error) {
	check(os.WriteFile(dir+"/locked", make([]byte, 100), 0o600))
	p := must(unix.Open(dir+"/locked", unix.O_RDWR, 0))
	check(unix.FcntlFlock(uintptr(p), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 2, Len: 5}))
	check(unix.FcntlFlock(uintptr(p), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 50}))
	check(os.WriteFile(dir+"/flock", nil, 0o600))
	f := must(unix.Open(dir+"/flock", unix.O_RDONLY, 0))
	check(unix.Flock(f, unix.LOCK_EX))
	o := must(unix.Open(dir+"/locked", unix.O_RDWR, 0))
	check(unix.FcntlFlock(uintptr(o), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 20, Len: 1}))
	return say("p", p, "f", f, "o", o), nil
}

func openIOUring(string) (string, error) {
	var params [120]byte
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return "none", nil
	}
	return say("u", int(fd)), nil
}

func openMany(dir string) (string, error) {
	for i := range 1000 {
		must(unix.Open(fmt.Sprintf("%s/%d", dir, i), unix.O_RDWR|unix.O_CREAT, 0o600))
	}
	return "", nil
}
