// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	sk_inet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-inet"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// TCP and UDP over IPv4 and IPv6: listening, bound, unconnected, and connected UDP. An established TCP connection is
// recorded with --tcp-close and comes back closed, as in CRIU; that it goes on is for later. Datagrams queued in UDP sockets are
// lost, as UDP may.

func init() {
	register(&kind{
		typ:   fdinfo.FdTypes_INETSK,
		match: isInet,
		dump:  dumpInet,
		check: checkInet,
		open:  openInet,
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetIsk().GetFlags(), e.GetIsk().GetFown()
		},
	})
}

func isInet(o *object) bool {
	if !isSocket(o) {
		return false
	}
	if d := socketDomain(o); d != unix.AF_INET && d != unix.AF_INET6 {
		return false
	}
	typ, err := unix.GetsockoptInt(o.local, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || typ != unix.SOCK_STREAM && typ != unix.SOCK_DGRAM {
		return false
	}
	p, err := unix.GetsockoptInt(o.local, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && (p == unix.IPPROTO_TCP || p == unix.IPPROTO_MPTCP || p == unix.IPPROTO_UDP || p == unix.IPPROTO_UDPLITE)
}

// tcpInfo is the start of struct tcp_info of linux/tcp.h. Of a listening socket Unacked is the number of connections not yet
// accepted and Sacked the backlog.
type tcpInfo struct {
	State, CAState, Retransmits, Probes, Backoff, Options, Wscale, Flags uint8
	Rto, Ato, SndMss, RcvMss, Unacked, Sacked                            uint32
}

func readTCPInfo(fd int) (*tcpInfo, error) {
	var info tcpInfo
	n := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("TCP_INFO: %w", errno)
	}
	return &info, nil
}

// connected says that a TCP socket is or was connected: its state is not that of a socket that never was.
func connected(state uint32) bool { return state != tcpClose && state != tcpListen }

var tcpStates = [...]string{
	1: "established", "opening (SYN_SENT)", "opening (SYN_RECV)", "closing (FIN_WAIT1)", "closing (FIN_WAIT2)", "closed (TIME_WAIT)",
	"closed", "closed by its peer (CLOSE_WAIT)", "closing (LAST_ACK)", "listening", "closing", "opening (NEW_SYN_RECV)",
}

func dumpInet(c *Collector, o *object) (*fdinfo.FileEntry, error) {
	own, err := ownerOf(o)
	if err != nil {
		return nil, err
	}
	e := &sk_inet.InetSkEntry{
		Id: proto.Uint32(o.id), Ino: proto.Uint32(uint32(o.st.Ino)), State: proto.Uint32(tcpClose), Flags: proto.Uint32(o.flags()),
		Backlog: proto.Uint32(0), SrcPort: proto.Uint32(0), DstPort: proto.Uint32(0), Fown: own, NsId: proto.Uint32(c.opts.netNSID()),
	}
	typ, err1 := unix.GetsockoptInt(o.local, unix.SOL_SOCKET, unix.SO_TYPE)
	p, err2 := unix.GetsockoptInt(o.local, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err := errors.Join(err1, err2); err != nil {
		return nil, o.fail("socket", err)
	}
	if p == unix.IPPROTO_MPTCP {
		// Go's net package listens so by default. CRIU has no name for it, and a listening socket takes plain TCP too.
		p = unix.IPPROTO_TCP
		c.extra.MPTCP = append(c.extra.MPTCP, o.id)
	}
	e.Family, e.Type, e.Proto = proto.Uint32(uint32(socketDomain(o))), proto.Uint32(uint32(typ)), proto.Uint32(uint32(p))
	if err := inetAddresses(o, e); err != nil {
		return nil, err
	}
	if p == unix.IPPROTO_TCP {
		if err := c.tcpState(o, e); err != nil {
			return nil, err
		}
	} else if len(e.DstAddr) > 0 && e.GetDstPort() != 0 {
		*e.State = tcpEstablished
	}
	if e.Opts, err = readSockOpts(o.local); err != nil {
		return nil, o.fail("socket", err)
	}
	if err := readInetOpts(o.local, e); err != nil {
		return nil, o.fail("socket", err)
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_INETSK.Enum(), Id: proto.Uint32(o.id), Isk: e}, nil
}

// tcpState records the state of a TCP socket, or refuses it.
func (c *Collector) tcpState(o *object, e *sk_inet.InetSkEntry) error {
	info, err := readTCPInfo(o.local)
	if err != nil {
		return o.fail("socket", err)
	}
	*e.State = uint32(info.State)
	switch {
	case info.State == tcpListen:
		*e.Backlog = info.Sacked
		if info.Unacked > 0 && !c.opts.SkipFlight && !c.opts.TCPClose {
			return o.refuse(fmt.Sprintf("a listening TCP socket (port %d) with %d connections that are not accepted yet", e.GetSrcPort(), info.Unacked),
				"try again when the program has accepted them, or give them up with --skip-in-flight")
		}
	case connected(e.GetState()) && !c.opts.TCPClose:
		name := "connected"
		if int(info.State) < len(tcpStates) {
			name = tcpStates[info.State]
		}
		return o.refuse(fmt.Sprintf("a TCP connection (%s, %s)", inetName(e), name), "have it restored as closed with --tcp-close")
	}
	return nil
}

func inetName(e *sk_inet.InetSkEntry) string {
	src, _ := inetAddr(e.GetSrcAddr(), e.GetFamily())
	dst, _ := inetAddr(e.GetDstAddr(), e.GetFamily())
	if !dst.IsValid() {
		return netip.AddrPortFrom(src, uint16(e.GetSrcPort())).String()
	}
	return netip.AddrPortFrom(src, uint16(e.GetSrcPort())).String() + " to " + netip.AddrPortFrom(dst, uint16(e.GetDstPort())).String()
}

// inetAddresses reads both addresses. In the image they are 32-bit words as they are in memory.
func inetAddresses(o *object, e *sk_inet.InetSkEntry) error {
	sa, err := unix.Getsockname(o.local)
	if err != nil {
		return o.fail("getsockname", err)
	}
	var zone uint32
	e.SrcAddr, *e.SrcPort, zone = imageAddr(sa)
	sa, err = unix.Getpeername(o.local)
	switch {
	case err == nil:
		e.DstAddr, *e.DstPort, _ = imageAddr(sa)
	case errors.Is(err, unix.ENOTCONN):
		e.DstAddr = make([]uint32, len(e.SrcAddr))
	default:
		return o.fail("getpeername", err)
	}
	if zone != 0 {
		name, err := ifName(o.local, zone)
		if err != nil {
			return o.fail("interface "+fmt.Sprint(zone), err)
		}
		e.Ifname = proto.String(name)
	}
	return nil
}

func imageAddr(sa unix.Sockaddr) (words []uint32, port, zone uint32) {
	var raw []byte
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		raw, port = sa.Addr[:], uint32(sa.Port)
	case *unix.SockaddrInet6:
		raw, port, zone = sa.Addr[:], uint32(sa.Port), sa.ZoneId
	}
	for ; len(raw) >= 4; raw = raw[4:] {
		words = append(words, binary.NativeEndian.Uint32(raw))
	}
	return words, port, zone
}

func inetAddr(words []uint32, family uint32) (netip.Addr, error) {
	var raw []byte
	for _, w := range words {
		raw = binary.NativeEndian.AppendUint32(raw, w)
	}
	if family == unix.AF_INET && len(raw) >= 4 {
		return netip.AddrFrom4([4]byte(raw)), nil
	}
	if family == unix.AF_INET6 && len(raw) == 16 {
		return netip.AddrFrom16([16]byte(raw)), nil
	}
	return netip.Addr{}, fmt.Errorf("address of %d words", len(words))
}

func ifName(fd int, index uint32) (string, error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	ifr.SetUint32(index)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr); err != nil {
		return "", err
	}
	return ifr.Name(), nil
}

func checkInet(_ *Set, e *fdinfo.FileEntry) error {
	i := e.GetIsk()
	if i == nil {
		return errors.New("no inet socket entry")
	}
	if i.GetFamily() != unix.AF_INET && i.GetFamily() != unix.AF_INET6 {
		return fmt.Errorf("family %d", i.GetFamily())
	}
	switch i.GetProto() {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE:
	default:
		return fmt.Errorf("protocol %d: %w", i.GetProto(), ErrUnsupported)
	}
	if i.GetSrcPort() > 0xffff || i.GetDstPort() > 0xffff {
		return errors.New("port out of range")
	}
	_, err := inetAddr(i.GetSrcAddr(), i.GetFamily())
	return err
}

func openInet(s *Set, e *fdinfo.FileEntry) (int, error) {
	i := e.GetIsk()
	closed := i.GetProto() == unix.IPPROTO_TCP && connected(i.GetState())
	if closed && !s.opts.TCPClose {
		return -1, fmt.Errorf("TCP connection %s: the images don't hold it open: have it restored as closed with --tcp-close", inetName(i))
	}
	p := int(i.GetProto())
	if isTCP(i) && slices.Contains(s.extra.MPTCP, i.GetId()) {
		p = unix.IPPROTO_MPTCP
	}
	fd, err := unix.Socket(int(i.GetFamily()), int(i.GetType())|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, p)
	if errors.Is(err, unix.EPROTONOSUPPORT) && p == unix.IPPROTO_MPTCP {
		fd, err = unix.Socket(int(i.GetFamily()), int(i.GetType())|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	}
	if err != nil {
		return -1, fmt.Errorf("socket %s: %w", inetName(i), err)
	}
	if err := s.setUpInet(fd, i, closed); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("socket %s: %w", inetName(i), err)
	}
	return fd, nil
}

func (s *Set) setUpInet(fd int, i *sk_inet.InetSkEntry, closed bool) error {
	if err := earlySockOpts(fd, i.GetOpts()); err != nil {
		return err
	}
	if err := writeInetOpts(fd, i); err != nil {
		return err
	}
	if closed {
		// What was connected is not bound again: its port may be that of a listening socket, or in TIME_WAIT.
		return restoreSockOpts(fd, i.GetOpts())
	}
	src, err := s.sockaddr(fd, i, i.GetSrcAddr(), i.GetSrcPort())
	if err != nil {
		return err
	}
	if i.GetSrcPort() != 0 {
		if isTCP(i) {
			// Connections of before may be in TIME_WAIT on the port. restoreSockOpts takes it back.
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return fmt.Errorf("SO_REUSEADDR: %w", err)
			}
		}
		if err := unix.Bind(fd, src); err != nil {
			if errors.Is(err, unix.EADDRINUSE) {
				return fmt.Errorf("bind: %w: another socket has the address, or a connection that has ended (TIME_WAIT in ss -tan) keeps it for a minute", err)
			}
			return fmt.Errorf("bind: %w", err)
		}
	}
	switch {
	case i.GetState() == tcpListen:
		if err := unix.Listen(fd, int(int32(i.GetBacklog()))); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	case i.GetProto() != unix.IPPROTO_TCP && i.GetDstPort() != 0:
		dst, err := s.sockaddr(fd, i, i.GetDstAddr(), i.GetDstPort())
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, dst); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	if how := int(i.GetShutdown()); how > 0 && how <= 3 && i.GetProto() != unix.IPPROTO_TCP {
		if err := unix.Shutdown(fd, how-1); err != nil && !errors.Is(err, unix.ENOTCONN) {
			return fmt.Errorf("shutdown: %w", err)
		}
	}
	return restoreSockOpts(fd, i.GetOpts())
}

func (s *Set) sockaddr(fd int, i *sk_inet.InetSkEntry, words []uint32, port uint32) (unix.Sockaddr, error) {
	a, err := inetAddr(words, i.GetFamily())
	if err != nil {
		return nil, err
	}
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
	if name := i.GetIfname(); name != "" {
		ifr, err := unix.NewIfreq(name)
		if err == nil {
			err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr)
		}
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", name, err)
		}
		sa.ZoneId = ifr.Uint32()
	}
	return sa, nil
}
