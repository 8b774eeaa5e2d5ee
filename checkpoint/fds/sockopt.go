// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"unsafe"

	sk_opts "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-opts"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Options of all sockets (socket(7)).

// soBufLock is SO_BUF_LOCK, since Linux 5.15: whether the program has set the sizes of the buffers itself.
const soBufLock = 72

// intOpt is a socket option whose value is an int, and its field in the image: one of the two pointers.
type intOpt struct {
	opt  int
	u    func(*sk_opts.SkOptsEntry) **uint32
	b    func(*sk_opts.SkOptsEntry) **bool
	skip bool // not to be set on restore as it is
}

var intOpts = []intOpt{
	{opt: unix.SO_REUSEADDR, b: func(e *sk_opts.SkOptsEntry) **bool { return &e.Reuseaddr }},
	{opt: unix.SO_REUSEPORT, b: func(e *sk_opts.SkOptsEntry) **bool { return &e.SoReuseport }},
	{opt: unix.SO_PRIORITY, u: func(e *sk_opts.SkOptsEntry) **uint32 { return &e.SoPriority }},
	{opt: unix.SO_RCVLOWAT, u: func(e *sk_opts.SkOptsEntry) **uint32 { return &e.SoRcvlowat }},
	{opt: unix.SO_MARK, u: func(e *sk_opts.SkOptsEntry) **uint32 { return &e.SoMark }},
	{opt: unix.SO_PASSCRED, b: func(e *sk_opts.SkOptsEntry) **bool { return &e.SoPasscred }},
	{opt: unix.SO_PASSSEC, b: func(e *sk_opts.SkOptsEntry) **bool { return &e.SoPasssec }},
	{opt: unix.SO_DONTROUTE, b: func(e *sk_opts.SkOptsEntry) **bool { return &e.SoDontroute }},
	{opt: unix.SO_NO_CHECK, b: func(e *sk_opts.SkOptsEntry) **bool { return &e.SoNoCheck }},
	{opt: unix.SO_BROADCAST, b: func(e *sk_opts.SkOptsEntry) **bool { return &e.SoBroadcast }},
	{opt: unix.SO_KEEPALIVE, b: func(e *sk_opts.SkOptsEntry) **bool { return &e.SoKeepalive }},
	{opt: unix.SO_OOBINLINE, u: func(e *sk_opts.SkOptsEntry) **uint32 { return &e.SoOobinline }},
	{opt: soBufLock, u: func(e *sk_opts.SkOptsEntry) **uint32 { return &e.SoBufLock }, skip: true},
}

// absent says that the kernel or the socket's family has no such option. Since Linux 6.16 SO_PASSCRED and SO_PASSSEC exist
// for the families that pass credentials only.
func absent(err error) bool {
	return errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP)
}

func readSockOpts(fd int) (*sk_opts.SkOptsEntry, error) {
	e := &sk_opts.SkOptsEntry{}
	for _, o := range intOpts {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.opt)
		if absent(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("getsockopt %d: %w", o.opt, err)
		}
		if o.u != nil {
			*o.u(e) = proto.Uint32(uint32(v))
		} else {
			*o.b(e) = proto.Bool(v != 0)
		}
	}
	snd, err1 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	rcv, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	sndTmo, err3 := unix.GetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO)
	rcvTmo, err4 := unix.GetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO)
	linger, err5 := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, fmt.Errorf("getsockopt: %w", err)
	}
	e.SoSndbuf, e.SoRcvbuf = proto.Uint32(uint32(snd)), proto.Uint32(uint32(rcv))
	e.SoSndTmoSec, e.SoSndTmoUsec = proto.Uint64(uint64(sndTmo.Sec)), proto.Uint64(uint64(sndTmo.Usec))
	e.SoRcvTmoSec, e.SoRcvTmoUsec = proto.Uint64(uint64(rcvTmo.Sec)), proto.Uint64(uint64(rcvTmo.Usec))
	if linger.Onoff != 0 {
		e.SoLinger = proto.Uint32(uint32(linger.Linger))
	}
	if dev, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err == nil && dev != "" {
		e.SoBoundDev = proto.String(dev)
	}
	e.SoFilter, err1 = sockFilter(fd)
	return e, err1
}

// sockFilter reads the classic BPF program of a socket; SO_GET_FILTER takes and gives a number of instructions of 8 bytes.
func sockFilter(fd int) ([]uint64, error) {
	var n uint32
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_GET_FILTER, 0, uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 || n == 0 {
		if errno == unix.EACCES {
			return nil, fmt.Errorf("it has an eBPF filter, which %w", ErrUnsupported)
		}
		return nil, nil
	}
	if n > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("filter of %d instructions", n)
	}
	prog := make([]uint64, n)
	_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_GET_FILTER,
		uintptr(unsafe.Pointer(&prog[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("SO_GET_FILTER: %w", errno)
	}
	return prog, nil
}

// earlySockOpts sets what must be there before a socket is bound.
func earlySockOpts(fd int, e *sk_opts.SkOptsEntry) error {
	for _, o := range []struct {
		opt int
		v   bool
	}{{unix.SO_REUSEADDR, e.GetReuseaddr()}, {unix.SO_REUSEPORT, e.GetSoReuseport()}} {
		if !o.v {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.opt, 1); err != nil {
			return fmt.Errorf("setsockopt %d: %w", o.opt, err)
		}
	}
	if dev := e.GetSoBoundDev(); dev != "" {
		if err := unix.BindToDevice(fd, dev); err != nil {
			return fmt.Errorf("bind to device %s: %w", dev, err)
		}
	}
	return nil
}

// restoreSockOpts sets the options that differ from what a new socket has.
func restoreSockOpts(fd int, e *sk_opts.SkOptsEntry) error {
	for _, o := range intOpts {
		if o.skip {
			continue
		}
		want := 0
		if o.u != nil {
			if *o.u(e) == nil {
				continue
			}
			want = int(**o.u(e))
		} else {
			if *o.b(e) == nil {
				continue
			}
			if **o.b(e) {
				want = 1
			}
		}
		now, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.opt)
		if absent(err) && want == 0 {
			continue
		}
		if err == nil && now == want {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.opt, want); err != nil {
			return fmt.Errorf("setsockopt %d to %d: %w", o.opt, want, err)
		}
	}
	if err := restoreBuffers(fd, e); err != nil {
		return err
	}
	for _, o := range []struct {
		opt       int
		sec, usec uint64
	}{
		{unix.SO_SNDTIMEO, e.GetSoSndTmoSec(), e.GetSoSndTmoUsec()},
		{unix.SO_RCVTIMEO, e.GetSoRcvTmoSec(), e.GetSoRcvTmoUsec()},
	} {
		if o.sec == 0 && o.usec == 0 {
			continue
		}
		tv := unix.Timeval{Sec: int64(o.sec), Usec: int64(o.usec)}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, o.opt, &tv); err != nil {
			return fmt.Errorf("setsockopt %d: %w", o.opt, err)
		}
	}
	if e.SoLinger != nil {
		l := unix.Linger{Onoff: 1, Linger: int32(e.GetSoLinger())}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l); err != nil {
			return fmt.Errorf("SO_LINGER: %w", err)
		}
	}
	return attachFilter(fd, e.GetSoFilter())
}

// restoreBuffers sets the sizes of the buffers. The kernel doubles what it is given, and takes setting one as a wish that
// it be left alone, which SO_BUF_LOCK takes back.
func restoreBuffers(fd int, e *sk_opts.SkOptsEntry) error {
	set := false
	for _, o := range []struct {
		get, force int
		want       uint32
	}{
		{unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, e.GetSoSndbuf()},
		{unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, e.GetSoRcvbuf()},
	} {
		now, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.get)
		if err != nil {
			return fmt.Errorf("getsockopt %d: %w", o.get, err)
		}
		if now == int(o.want) && e.GetSoBufLock() == 0 || o.want == 0 {
			continue
		}
		set = true
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, int(o.want/2)); err != nil {
			return fmt.Errorf("setsockopt %d to %d: %w", o.force, o.want/2, err)
		}
	}
	if set && e.SoBufLock != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, soBufLock, int(e.GetSoBufLock())); err != nil && !absent(err) {
			return fmt.Errorf("SO_BUF_LOCK: %w", err)
		}
	}
	return nil
}

func attachFilter(fd int, prog []uint64) error {
	if len(prog) == 0 {
		return nil
	}
	if len(prog) > unix.BPF_MAXINSNS {
		return fmt.Errorf("filter of %d instructions", len(prog))
	}
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &p); err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	return nil
}
