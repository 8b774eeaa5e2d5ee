// SPDX-License-Identifier: Apache-2.0

package features

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/feature"
)

// Constants that x/sys/unix has no name for.
const (
	siocUnixFile   = 0x89e0 // SIOCUNIXFILE, include/uapi/linux/un.h
	siocGSKNS      = 0x894c // SIOCGSKNS, include/uapi/linux/sockios.h
	soBufLock      = 72     // SO_BUF_LOCK, include/uapi/asm-generic/socket.h
	sockDiagFamily = 20     // SOCK_DIAG_BY_FAMILY, include/uapi/linux/sock_diag.h
	nfnlNFTables   = 10     // NFNL_SUBSYS_NFTABLES
	nftMsgGetGen   = 16     // NFT_MSG_GETGEN
)

// netlink sends one request and gives the error that the kernel answers with, nil for any other answer.
func netlink(protocol int, kind, flags uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	defer unix.Close(fd)
	// So that a kernel that stays silent can't hang the test.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	msg := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(body))
	binary.NativeEndian.PutUint32(msg[0:], uint32(unix.NLMSG_HDRLEN+len(body)))
	binary.NativeEndian.PutUint16(msg[4:], kind)
	binary.NativeEndian.PutUint16(msg[6:], flags|unix.NLM_F_REQUEST)
	msg = append(msg, body...)
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink request: %w", err)
	}
	var buf [1 << 14]byte
	n, _, err := unix.Recvfrom(fd, buf[:], 0)
	if err != nil {
		return fmt.Errorf("netlink answer: %w", err)
	}
	if n >= unix.NLMSG_HDRLEN+4 && binary.NativeEndian.Uint16(buf[4:]) == unix.NLMSG_ERROR {
		if code := int32(binary.NativeEndian.Uint32(buf[unix.NLMSG_HDRLEN:])); code != 0 {
			return unix.Errno(-code)
		}
	}
	return nil
}

// diag asks for all sockets of a family. A kernel without its module says ENOENT.
func diag(what string, body []byte) error {
	return feature.Unless(what+" diag", netlink(unix.NETLINK_SOCK_DIAG, sockDiagFamily, unix.NLM_F_DUMP, body), unix.ENOENT, unix.EPROTONOSUPPORT)
}

// inetDiag makes a struct inet_diag_req_v2 that matches no socket: no state is asked for.
func inetDiag(protocol byte) []byte {
	body := make([]byte, 56)
	body[0], body[1] = unix.AF_INET, protocol
	return body
}

func diagTCP() error { return diag("TCP", inetDiag(unix.IPPROTO_TCP)) }
func diagUDP() error { return diag("UDP", inetDiag(unix.IPPROTO_UDP)) }

func diagRaw() error {
	body := inetDiag(unix.IPPROTO_RAW)
	body[3] = unix.IPPROTO_RAW // sdiag_raw_protocol
	return diag("raw", body)
}

func diagUnix() error {
	body := make([]byte, 24) // struct unix_diag_req
	body[0] = unix.AF_UNIX
	return diag("unix", body)
}

func diagPacket() error {
	body := make([]byte, 20) // struct packet_diag_req
	body[0] = unix.AF_PACKET
	return diag("packet", body)
}

func diagNetlink() error {
	body := make([]byte, 20) // struct netlink_diag_req
	body[0], body[1] = unix.AF_NETLINK, 255
	return diag("netlink", body)
}

func netNSID() error {
	body := make([]byte, 4+8) // struct rtgenmsg, NETNSA_FD of our own namespace
	return withFile("/proc/self/ns/net", func(fd int) error {
		binary.NativeEndian.PutUint16(body[4:], 8)
		binary.NativeEndian.PutUint16(body[6:], unix.NETNSA_FD)
		binary.NativeEndian.PutUint32(body[8:], uint32(fd))
		return feature.Unless("RTM_GETNSID", netlink(unix.NETLINK_ROUTE, unix.RTM_GETNSID, 0, body), unix.EOPNOTSUPP)
	})
}

func nftables() error {
	body := make([]byte, 4) // struct nfgenmsg
	err := netlink(unix.NETLINK_NETFILTER, nfnlNFTables<<8|nftMsgGetGen, 0, body)
	return feature.Unless("nftables", err, unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT)
}

// withSocket runs fn with a new socket.
func withSocket(family, kind int, fn func(fd int) error) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return feature.Unless("socket", err, unix.EAFNOSUPPORT)
	}
	defer unix.Close(fd)
	return fn(fd)
}

func tcpRepair() error {
	return withSocket(unix.AF_INET, unix.SOCK_STREAM, func(fd int) error {
		return feature.Unless("TCP_REPAIR", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1), unix.ENOPROTOOPT, unix.EPERM)
	})
}

// tcpHalfClosed puts a connection that is closed on one side into repair mode. It does without package net, which
// would make the program need a C library.
func tcpHalfClosed() error {
	return withSocket(unix.AF_INET, unix.SOCK_STREAM, func(server int) error {
		if err := unix.Bind(server, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		if err := unix.Listen(server, 1); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		addr, err := unix.Getsockname(server)
		if err != nil {
			return fmt.Errorf("getsockname: %w", err)
		}
		return withSocket(unix.AF_INET, unix.SOCK_STREAM, func(client int) error {
			if err := unix.Connect(client, addr); err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			if err := unix.Shutdown(client, unix.SHUT_WR); err != nil {
				return fmt.Errorf("shutdown: %w", err)
			}
			return feature.Unless("TCP_REPAIR of a half-closed connection",
				unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1), unix.EPERM, unix.ENOPROTOOPT)
		})
	})
}

func socketBufLock() error {
	return withSocket(unix.AF_INET, unix.SOCK_STREAM, func(fd int) error {
		_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, soBufLock)
		return feature.Unless("SO_BUF_LOCK", err, unix.ENOPROTOOPT)
	})
}

func ipv6Freebind() error {
	return withSocket(unix.AF_INET6, unix.SOCK_STREAM, func(fd int) error {
		_, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND)
		return feature.Unless("IPV6_FREEBIND", err, unix.ENOPROTOOPT)
	})
}

func socketNS() error {
	return withSocket(unix.AF_UNIX, unix.SOCK_STREAM, func(fd int) error {
		ns, err := unix.IoctlRetInt(fd, siocGSKNS)
		if err != nil {
			return feature.Unless("SIOCGSKNS", err, unix.ENOTTY, unix.EINVAL, unix.EPERM)
		}
		return unix.Close(ns)
	})
}

// socketUnixFile asks for the file of a socket that has none: a kernel that knows the request says ENOENT.
func socketUnixFile() error {
	return withSocket(unix.AF_UNIX, unix.SOCK_STREAM, func(fd int) error {
		f, err := unix.IoctlRetInt(fd, siocUnixFile)
		switch {
		case err == nil:
			return unix.Close(f)
		case errors.Is(err, unix.ENOENT):
			return nil
		}
		return feature.Unless("SIOCUNIXFILE", err, unix.ENOTTY, unix.EINVAL, unix.EPERM)
	})
}

// withTun runs fn with the tun device.
func withTun(fn func(fd int) error) error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return feature.Missing("no /dev/net/tun")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return fn(int(f.Fd()))
}

func tun() error { return withTun(func(int) error { return nil }) }

// tunNS asks for the namespace of a descriptor that is no device yet: EBADFD from a kernel that knows the request
// or looks for the device first, which is what all do since 4.16.
func tunNS() error {
	return withTun(func(fd int) error {
		ns, err := unix.IoctlRetInt(fd, siocGSKNS)
		switch {
		case err == nil:
			return unix.Close(ns)
		case errors.Is(err, unix.EBADFD):
			return feature.ByVersion("4.16")()
		}
		return feature.Unless("SIOCGSKNS", err, unix.ENOTTY, unix.EINVAL, unix.EPERM)
	})
}
