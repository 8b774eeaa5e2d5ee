// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"

	sk_inet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-inet"
	tcp_stream "github.com/checkpoint-restore/go-criu/v8/crit/images/tcp-stream"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Options of IP, IPv6 and TCP sockets.

// inetOpt is an option whose value is an int, and its field in the image: one of the two pointers.
type inetOpt struct {
	level, opt int
	only       func(*sk_inet.InetSkEntry) bool // nil: all
	u          func(*sk_inet.InetSkEntry) **uint32
	b          func(*sk_inet.InetSkEntry) **bool
}

func isV6(e *sk_inet.InetSkEntry) bool  { return e.GetFamily() == unix.AF_INET6 }
func isV4(e *sk_inet.InetSkEntry) bool  { return e.GetFamily() == unix.AF_INET }
func isTCP(e *sk_inet.InetSkEntry) bool { return e.GetProto() == unix.IPPROTO_TCP }

var inetOpts = []inetOpt{
	{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, isV6, nil, func(e *sk_inet.InetSkEntry) **bool { return &e.V6Only }},
	{unix.IPPROTO_IP, unix.IP_FREEBIND, nil, nil, func(e *sk_inet.InetSkEntry) **bool { return &e.IpOpts.Freebind }},
	{unix.IPPROTO_IP, unix.IP_PKTINFO, isV4, nil, func(e *sk_inet.InetSkEntry) **bool { return &e.IpOpts.Pktinfo }},
	{unix.IPPROTO_IP, unix.IP_TOS, isV4, func(e *sk_inet.InetSkEntry) **uint32 { return &e.IpOpts.Tos }, nil},
	{unix.IPPROTO_IP, unix.IP_TTL, isV4, func(e *sk_inet.InetSkEntry) **uint32 { return &e.IpOpts.Ttl }, nil},
	{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, isV6, nil, func(e *sk_inet.InetSkEntry) **bool { return &e.IpOpts.Pktinfo }},
	{unix.IPPROTO_TCP, unix.TCP_CORK, isTCP, nil, func(e *sk_inet.InetSkEntry) **bool { return &e.TcpOpts.Cork }},
	{unix.IPPROTO_TCP, unix.TCP_NODELAY, isTCP, nil, func(e *sk_inet.InetSkEntry) **bool { return &e.TcpOpts.Nodelay }},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, isTCP, func(e *sk_inet.InetSkEntry) **uint32 { return &e.TcpOpts.Keepcnt }, nil},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, isTCP, func(e *sk_inet.InetSkEntry) **uint32 { return &e.TcpOpts.Keepidle }, nil},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, isTCP, func(e *sk_inet.InetSkEntry) **uint32 { return &e.TcpOpts.Keepintvl }, nil},
}

func readInetOpts(fd int, e *sk_inet.InetSkEntry) error {
	e.IpOpts = &sk_inet.IpOptsEntry{}
	if isTCP(e) {
		e.TcpOpts = &tcp_stream.TcpOptsEntry{}
	}
	for _, o := range inetOpts {
		if o.only != nil && !o.only(e) {
			continue
		}
		v, err := unix.GetsockoptInt(fd, o.level, o.opt)
		if absent(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("getsockopt %d:%d: %w", o.level, o.opt, err)
		}
		if o.u != nil {
			*o.u(e) = proto.Uint32(uint32(v))
		} else {
			*o.b(e) = proto.Bool(v != 0)
		}
	}
	return nil
}

// writeInetOpts sets the options that differ from what a new socket has.
func writeInetOpts(fd int, e *sk_inet.InetSkEntry) error {
	if e.IpOpts == nil {
		e.IpOpts = &sk_inet.IpOptsEntry{}
	}
	if e.TcpOpts == nil {
		e.TcpOpts = &tcp_stream.TcpOptsEntry{}
	}
	for _, o := range inetOpts {
		if o.only != nil && !o.only(e) {
			continue
		}
		want, ok := 0, false
		if o.u != nil {
			if p := *o.u(e); p != nil {
				want, ok = int(*p), true
			}
		} else if p := *o.b(e); p != nil {
			ok = true
			if *p {
				want = 1
			}
		}
		if !ok {
			continue
		}
		if now, err := unix.GetsockoptInt(fd, o.level, o.opt); err == nil && now == want {
			continue
		}
		if err := unix.SetsockoptInt(fd, o.level, o.opt, want); err != nil && !(want == 0 && errors.Is(err, unix.ENOPROTOOPT)) {
			return fmt.Errorf("setsockopt %d:%d to %d: %w", o.level, o.opt, want, err)
		}
	}
	return nil
}
