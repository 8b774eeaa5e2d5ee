// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// MaxRights is SCM_MAX_FD, how many descriptors fit one message.
const MaxRights = 253

// Passage hands descriptors of the engine to a process: a datagram socket made by the process, of which the engine
// holds a duplicate (pidfd_getfd), connected to itself. No name or right is needed on either side.
type Passage struct {
	s      *Session
	remote int // in the process
	local  int // in the engine
}

// Open makes the socket. pidfd is one of the process. EMFILE if the process has no descriptor left.
func (s *Session) Open(pidfd int) (*Passage, error) {
	b := s.NewBatch()
	i := b.Call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	// The result goes straight into the close() of the way back, which lies behind this entry and the stop.
	s.unwind = append(s.unwind, unwindEntry{nr: unix.SYS_CLOSE, args: [6]uint64{^uint64(0)}})
	b.Into(i, i+1+len(s.unwind), 0)
	err := s.Run(b)
	var w [8]byte
	if err == nil {
		err = s.ReadMem(b.EntryAddr(i+1+len(s.unwind))+8, w[:])
	}
	var fd uint64
	if err == nil {
		fd, err = errnoOf(binary.LittleEndian.Uint64(w[:]))
	}
	if err != nil {
		s.unwind = s.unwind[:len(s.unwind)-1]
		return nil, fmt.Errorf("task %d: a socket in the target: %w", s.T.Tid, err)
	}
	s.unwind[len(s.unwind)-1].args[0] = fd
	p := &Passage{s: s, remote: int(fd), local: -1}
	if p.local, err = unix.PidfdGetfd(pidfd, int(fd), 0); err == nil {
		err = p.connect()
	}
	if err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("task %d: taking the socket of the target: %w", s.T.Tid, err)
	}
	return p, nil
}

// connect binds the socket to a name that the kernel picks and connects it to itself.
func (p *Passage) connect() error {
	if err := unix.Bind(p.local, &unix.SockaddrUnix{}); err != nil {
		return err
	}
	name, err := unix.Getsockname(p.local)
	if err != nil {
		return err
	}
	return unix.Connect(p.local, name)
}

// Send passes descriptors of the engine, close-on-exec, and returns their numbers in the process. They are the lowest
// free ones, in order; at most [MaxRights] a call.
func (p *Passage) Send(fds []int) ([]int, error) {
	if len(fds) == 0 || len(fds) > MaxRights {
		return nil, fmt.Errorf("passing %d descriptors: between 1 and %d are possible", len(fds), MaxRights)
	}
	if err := unix.Sendmsg(p.local, []byte{0}, unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT); err != nil {
		return nil, fmt.Errorf("task %d: passing descriptors: %w", p.s.T.Tid, err)
	}
	n := len(p.s.unwind)
	// the close() calls of the way back have to be there before the descriptors are
	for fd := p.remote + 1; len(p.s.unwind) < n+len(fds); fd++ {
		if unix.Access(fmt.Sprintf("/proc/%d/fd/%d", p.s.T.Tid, fd), unix.F_OK) != nil {
			p.s.unwind = append(p.s.unwind, unwindEntry{nr: unix.SYS_CLOSE, args: [6]uint64{uint64(fd)}})
		}
	}
	b := p.s.NewBatch()
	msg, ctrl := receive(b, len(fds))
	i := b.Call(unix.SYS_RECVMSG, uint64(p.remote), msg, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err := p.s.Run(b); err != nil {
		return nil, err
	}
	if _, err := b.Result(i); err != nil {
		p.s.unwind = p.s.unwind[:n]
		return nil, fmt.Errorf("task %d: receiving descriptors: %w", p.s.T.Tid, err)
	}
	out, err := received(b, ctrl, len(fds))
	if err != nil {
		return nil, err
	}
	for k, fd := range out {
		p.s.unwind[n+k].args[0] = uint64(fd)
	}
	p.s.unwind = p.s.unwind[:n+len(out)]
	if len(out) < len(fds) {
		return out, fmt.Errorf("task %d: took %d of %d descriptors: %w", p.s.T.Tid, len(out), len(fds), unix.EMFILE)
	}
	return out, nil
}

// Close closes what Send passed, and the socket, on both sides.
func (p *Passage) Close() error {
	if p.local >= 0 {
		unix.Close(p.local)
		p.local = -1
	}
	b := p.s.NewBatch()
	for _, u := range p.s.unwind {
		b.Call(u.nr, u.args[0])
	}
	p.s.unwind = nil
	if b.Len() == 0 {
		return nil
	}
	return p.s.Run(b)
}
