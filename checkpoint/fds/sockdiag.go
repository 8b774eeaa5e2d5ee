// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// unixDiag is what sock_diag(7) says about one unix socket.
type unixDiag struct {
	typ, state uint8 // SOCK_…, TCP_…
	peer       uint32
	shutdown   uint8    // RCV_SHUTDOWN 1, SEND_SHUTDOWN 2
	pending    []uint32 // of a listening socket: connected and not accepted
	rqueue     uint32   // bytes; of a listening socket the number of pending
	wqueue     uint32   // bytes; of a listening socket the backlog
}

const (
	sockDiagByFamily = 20

	udiagShowPeer  = 0x4
	udiagShowIcons = 0x8
	udiagShowRQLen = 0x10

	unixDiagPeer     = 2
	unixDiagIcons    = 3
	unixDiagRQLen    = 4
	unixDiagShutdown = 6
)

// diag is an open NETLINK_SOCK_DIAG socket of the engine's network namespace.
type diag struct {
	fd  int
	seq uint32
	buf []byte
}

func (c *Collector) diag() (*diag, error) {
	d := state[diag](c.states)
	if d.buf != nil {
		return d, nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	c.held = append(c.held, fd)
	d.fd, d.buf = fd, make([]byte, 64<<10)
	return d, nil
}

// unix asks about the socket of inode ino:
//
//	request (unix_diag_req)     answer (unix_diag_msg)
//	+0  u8  family              +0  u8  family
//	+1  u8  protocol            +1  u8  type
//	+4  u32 states              +2  u8  state
//	+8  u32 ino                 +4  u32 ino
//	+12 u32 what to show        +8  u32 cookie[2]
//	+16 u32 cookie[2], -1       +16 attributes
func (d *diag) unix(ino uint32) (*unixDiag, error) {
	const header, request = unix.SizeofNlMsghdr, 24
	d.seq++
	m := make([]byte, header+request)
	ne := binary.NativeEndian
	ne.PutUint32(m, uint32(len(m)))
	ne.PutUint16(m[4:], sockDiagByFamily)
	ne.PutUint16(m[6:], unix.NLM_F_REQUEST)
	ne.PutUint32(m[8:], d.seq)
	r := m[header:]
	r[0] = unix.AF_UNIX
	ne.PutUint32(r[4:], ^uint32(0))
	ne.PutUint32(r[8:], ino)
	ne.PutUint32(r[12:], udiagShowPeer|udiagShowIcons|udiagShowRQLen)
	ne.PutUint64(r[16:], ^uint64(0))
	if err := unix.Sendto(d.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		b := d.buf[:n]
		if len(b) < header || ne.Uint32(b[8:]) != d.seq {
			continue // the answer to an earlier question
		}
		return parseUnixDiag(b)
	}
}

func parseUnixDiag(b []byte) (*unixDiag, error) {
	const header, fixed = unix.SizeofNlMsghdr, 16
	ne := binary.NativeEndian
	if ne.Uint16(b[4:]) == unix.NLMSG_ERROR && len(b) >= header+4 {
		if e := int32(ne.Uint32(b[header:])); e != 0 {
			return nil, fmt.Errorf("sock_diag: %w", unix.Errno(-e))
		}
	}
	if n := int(ne.Uint32(b)); ne.Uint16(b[4:]) != sockDiagByFamily || n < header+fixed || n > len(b) {
		return nil, errors.New("sock_diag: unexpected answer")
	}
	b = b[header:ne.Uint32(b)]
	d := &unixDiag{typ: b[1], state: b[2]}
	for b = b[fixed:]; len(b) >= 4; {
		size, typ := int(ne.Uint16(b)), ne.Uint16(b[2:])
		if size < 4 || size > len(b) {
			break
		}
		v := b[4:size]
		switch {
		case typ == unixDiagPeer && len(v) >= 4:
			d.peer = ne.Uint32(v)
		case typ == unixDiagIcons:
			for ; len(v) >= 4; v = v[4:] {
				d.pending = append(d.pending, ne.Uint32(v))
			}
		case typ == unixDiagRQLen && len(v) >= 8:
			d.rqueue, d.wqueue = ne.Uint32(v), ne.Uint32(v[4:])
		case typ == unixDiagShutdown && len(v) >= 1:
			d.shutdown = v[0]
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return d, nil
}
