// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	sk_packet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-packet"
	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/procfs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// What is queued in unix sockets, read with MSG_PEEK so that it stays. Descriptors in a queue (SCM_RIGHTS) are open files of
// their own; peeking gives the engine duplicates of them.

// soPeekOff is SO_PEEK_OFF: where the next peek begins. It is state of the socket, so it is set only for as long as it
// takes to read a queue of more than one piece, with the target stopped, and put back. An engine killed in between leaves
// it set, which only a program that itself peeks would notice.
const soPeekOff = 42

// scmRights is the type of a control message in the images: that of the kernel.
const scmRights = 1

// packet is a message of a queue, or a piece of a stream.
type packet struct {
	data   []byte
	rights []int // descriptors of the engine
}

// scanUnixQueues writes sk-queues.img. New sockets may turn up in the queues, and are read too.
func scanUnixQueues(c *Collector) (err error) {
	s := state[unixSockets](c.states)
	var out *image.Stream
	defer func() {
		if out != nil {
			if cerr := out.Close(); err == nil {
				err = cerr
			}
		}
	}()
	for i := 0; i < len(s.order); i++ {
		f := s.order[i]
		if f.scanned || f.diag.state == tcpListen {
			continue
		}
		f.scanned = true
		err := peekQueue(f, func(p packet) error {
			if out == nil {
				if out, err = c.w.Append(queuesName); err != nil {
					return err
				}
			}
			return c.writePacket(out, f, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Collector) writePacket(out *image.Stream, f *unixFound, p packet) error {
	e := &sk_packet.SkPacketEntry{IdFor: proto.Uint32(f.entry.GetId()), Length: proto.Uint32(uint32(len(p.data)))}
	if len(p.rights) > 0 {
		scm := &sk_packet.ScmEntry{Type: proto.Uint32(scmRights)}
		for i, fd := range p.rights {
			id, err := c.queued(f, fd)
			if err != nil {
				for _, rest := range p.rights[i+1:] {
					_ = unix.Close(rest)
				}
				return err
			}
			scm.Rights = append(scm.Rights, id)
		}
		e.Scm = []*sk_packet.ScmEntry{scm}
	}
	if err := out.Write(e); err != nil {
		return err
	}
	return out.Payload(p.data)
}

// queued finds or makes the entry of an open file that was found in a queue. fd is a descriptor of the engine, which this
// takes over.
func (c *Collector) queued(f *unixFound, fd int) (uint32, error) {
	o := &object{task: f.o.task, fd: -1, local: fd, where: "a descriptor queued in " + f.o.where}
	// The engine's descriptor is what the file is known by from now on, so it stays open.
	o.hold()
	defer c.release(o)
	self, err := procfs.Open(os.Getpid())
	if err != nil {
		return 0, err
	}
	defer self.Close()
	if o.link, err = self.FDLink(fd); err != nil {
		return 0, err
	}
	if o.info, err = self.FDInfo(fd); err != nil {
		return 0, err
	}
	if err := unix.Fstat(fd, &o.st); err != nil {
		return 0, o.fail("fstat", err)
	}
	if o.link == "anon_inode:[eventpoll]" && len(o.info.Epoll) > 0 {
		return 0, o.refuse("an epoll instance that is sent to another process", "try again when it has been received")
	}
	e, err := c.file(o, os.Getpid(), fd)
	if err != nil {
		return 0, err
	}
	return e.GetId(), nil
}

// peekQueue calls fn for each message in the queue of a socket.
func peekQueue(f *unixFound, fn func(packet) error) error {
	fd := f.o.local
	if f.diag.typ == unix.SOCK_STREAM {
		n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		if err != nil {
			return f.o.fail("SIOCINQ", err)
		}
		if n == 0 {
			return nil
		}
		return peekStream(f, n, fn)
	}
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(ready, 0); err != nil {
		return f.o.fail("poll", err)
	}
	switch {
	case ready[0].Revents&unix.POLLERR != 0:
		// Reading would take the error away from the program.
		return f.o.refuse("a unix socket with an error that the program has not seen yet", "try again")
	case ready[0].Revents&unix.POLLIN == 0:
		return nil
	}
	return peekPackets(f, fn)
}

// peekStream reads a stream of n bytes, in one piece but for descriptors: a read ends behind the bytes that they came with.
func peekStream(f *unixFound, n int, fn func(packet) error) error {
	fd := f.o.local
	buf := make([]byte, n)
	p, m, err := peek(fd, buf)
	if err != nil {
		return f.o.fail("peek", err)
	}
	if m == n {
		return fn(p)
	}
	// There is more behind the descriptors. What this peek gave is read again.
	closeAll(p.rights)
	return withPeekOff(f, func() error {
		for at := 0; at < n; {
			p, m, err := peek(fd, buf[at:])
			if err == nil && m == 0 {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return f.o.fail("peek", err)
			}
			if err := fn(p); err != nil {
				return err
			}
			at += m
		}
		return nil
	})
}

// longestPacket is the largest datagram that is read, in bytes. The default limit of Linux is a fifth of it.
const longestPacket = 1 << 20

func peekPackets(f *unixFound, fn func(packet) error) error {
	buf := make([]byte, longestPacket)
	return withPeekOff(f, func() error {
		for {
			p, m, err := peek(f.o.local, buf)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return nil
			case err != nil:
				return f.o.fail("peek", err)
			case m > len(buf):
				closeAll(p.rights)
				return f.o.refuse(fmt.Sprintf("a unix socket with a queued message of %d bytes", m), "try again when it has been received")
			case m == 0 && f.diag.shutdown&1 != 0 && f.diag.typ == unix.SOCK_SEQPACKET:
				return nil // the end, not an empty message
			}
			if err := fn(p); err != nil {
				return err
			}
		}
	})
}

func withPeekOff(f *unixFound, fn func() error) error {
	fd := f.o.local
	before, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, soPeekOff)
	if err != nil {
		return f.o.fail("SO_PEEK_OFF", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, soPeekOff, 0); err != nil {
		return f.o.fail("SO_PEEK_OFF", err)
	}
	err = fn()
	if perr := unix.SetsockoptInt(fd, unix.SOL_SOCKET, soPeekOff, before); err == nil && perr != nil {
		err = f.o.fail("SO_PEEK_OFF", perr)
	}
	return err
}

// scmMaxFD is SCM_MAX_FD of the kernel: the most descriptors in a message.
const scmMaxFD = 253

// peek reads a message; n is its whole length, which for packets may exceed the buffer. The data is valid until the buffer
// is used again.
func peek(fd int, buf []byte) (p packet, n int, err error) {
	control := make([]byte, unix.CmsgSpace(scmMaxFD*4)+unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(256))
	var cn, flags int
	for {
		n, cn, flags, _, err = unix.Recvmsg(fd, buf, control, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_TRUNC|unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return packet{}, 0, err
	}
	p.data = buf[:min(n, len(buf))]
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil {
		return packet{}, 0, err
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue // credentials, security labels: whoever receives after the restore gets those of then
		}
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return packet{}, 0, err
		}
		p.rights = append(p.rights, fds...)
	}
	if flags&unix.MSG_CTRUNC != 0 {
		closeAll(p.rights)
		return packet{}, 0, errors.New("control messages are too long")
	}
	return p, n, nil
}

func closeAll(list []int) {
	for _, fd := range list {
		_ = unix.Close(fd)
	}
}

const queuesName = "sk-queues.img"

// queuedFiles are the open files that are on their way through a socket.
func queuedFiles(r *image.Reader) (map[uint32]bool, error) {
	ids := map[uint32]bool{}
	err := optional(r.Each(queuesName, nil, func(m proto.Message, _ io.Reader) error {
		for _, scm := range m.(*sk_packet.SkPacketEntry).GetScm() {
			for _, id := range scm.GetRights() {
				ids[id] = true
			}
		}
		return nil
	}))
	return ids, err
}

// fillUnixQueues puts what the images hold back into the queues. send maps the id of a socket to a descriptor whose
// messages go there.
func (s *Set) fillUnixQueues(send func(id uint32) (int, error)) error {
	const name = queuesName
	return optional(s.r.Each(name, nil, func(m proto.Message, payload io.Reader) error {
		e := m.(*sk_packet.SkPacketEntry)
		if s.files[e.GetIdFor()].GetUsk() == nil {
			return fmt.Errorf("%s: no unix socket %d: %w", name, e.GetIdFor(), image.ErrCorrupt)
		}
		data, err := io.ReadAll(payload)
		if err != nil {
			return err
		}
		fd, err := send(e.GetIdFor())
		if err != nil {
			return err
		}
		var rights []int
		for _, scm := range e.GetScm() {
			if scm.GetType() != scmRights || len(scm.GetRights()) > scmMaxFD {
				return fmt.Errorf("%s: control message of type %d: %w", name, scm.GetType(), ErrUnsupported)
			}
			for _, id := range scm.GetRights() {
				queued, err := s.Open(id)
				if err != nil {
					return err
				}
				rights = append(rights, queued)
			}
		}
		if err := sendPacket(fd, data, rights); err != nil {
			return fmt.Errorf("queue of unix socket %d: %w", e.GetIdFor(), err)
		}
		return nil
	}))
}

// sendPacket writes one message or piece. The socket's send buffer must be large enough.
func sendPacket(fd int, data []byte, rights []int) error {
	var control []byte
	if len(rights) > 0 {
		control = unix.UnixRights(rights...)
	}
	n, err := unix.SendmsgN(fd, data, control, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if err != nil {
		return fmt.Errorf("%d bytes: %w", len(data), err)
	}
	if n != len(data) {
		return errors.New("put " + strconv.Itoa(n) + " of " + strconv.Itoa(len(data)) + " bytes back")
	}
	return nil
}
