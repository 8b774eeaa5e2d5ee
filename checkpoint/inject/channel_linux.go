// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Channel hands descriptors of the engine to the processes of a restore: a datagram socket that all of them have
// inherited from the nursery, at the same number. What a batch asks for is sent before it begins and received in it, so
// one process at a time may have a batch that uses the channel.
type Channel struct {
	Remote int // its number in the processes
	local  int
}

// OpenChannels makes n such sockets in the nursery, which has no other descriptor, at numbers from at on.
func (n *Nursery) OpenChannels(at, count int) (_ []*Channel, err error) {
	pidfd, err := unix.PidfdOpen(n.T.Tid, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	b := n.NewBatch()
	for range count {
		b.Call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}
	if at != 0 {
		// from the highest down none meets another
		for i := count - 1; i >= 0; i-- {
			b.Call(unix.SYS_DUP3, uint64(i), uint64(at+i), unix.O_CLOEXEC)
		}
		b.Call(unix.SYS_CLOSE_RANGE, 0, uint64(at-1), 0)
	}
	if err := n.Run(b); err != nil {
		return nil, err
	}
	for i := range b.Len() {
		if _, err := b.Result(i); err != nil {
			return nil, fmt.Errorf("sockets at numbers from %d on: %w", at, err)
		}
	}
	var all []*Channel
	defer func() {
		if err != nil {
			for _, c := range all {
				c.Close()
			}
		}
	}()
	for i := range count {
		p := Passage{}
		if p.local, err = unix.PidfdGetfd(pidfd, at+i, 0); err != nil {
			return nil, fmt.Errorf("taking a socket of the first process: %w", err)
		}
		all = append(all, &Channel{Remote: at + i, local: p.local})
		if err := p.connect(); err != nil {
			return nil, fmt.Errorf("connecting a socket of the first process: %w", err)
		}
	}
	return all, nil
}

// Close closes the engine's side.
func (c *Channel) Close() {
	if c.local >= 0 {
		unix.Close(c.local)
		c.local = -1
	}
}

// Passed is a message with descriptors that a batch receives.
type Passed struct {
	call, n int
	ctrl    Addr
}

// Send sends descriptors, between 1 and [MaxRights]. It needs nothing but the channel.
func (c *Channel) Send(fds []int) error {
	if err := unix.Sendmsg(c.local, []byte{0}, unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT); err != nil {
		return fmt.Errorf("passing %d descriptors: %w", len(fds), err)
	}
	return nil
}

// Receive adds the call to a batch that receives the n descriptors of a message, close-on-exec or not. They get the lowest free numbers,
// in their order. The message must be there when the batch begins.
func (c *Channel) Receive(b *Batch, n int, closeOnExec bool) Passed {
	m, ctrl := receive(b, n)
	flags := uint64(unix.MSG_DONTWAIT)
	if closeOnExec {
		flags |= unix.MSG_CMSG_CLOEXEC
	}
	return Passed{call: b.Call(unix.SYS_RECVMSG, uint64(c.Remote), m, flags), n: n, ctrl: ctrl}
}

// receive reserves a struct msghdr for recvmsg of one byte and n descriptors, and says where their numbers will be.
func receive(b *Batch, n int) (msghdr, ctrl Addr) {
	const hdr = 56
	ctrl = b.Space(16 + 4*n)
	var iov [16]byte
	binary.LittleEndian.PutUint64(iov[0:], b.Space(16))
	binary.LittleEndian.PutUint64(iov[8:], 1)
	iovAt := b.Data(iov[:])
	var msg [hdr]byte
	binary.LittleEndian.PutUint64(msg[16:], iovAt)
	binary.LittleEndian.PutUint64(msg[24:], 1)
	binary.LittleEndian.PutUint64(msg[32:], ctrl)
	binary.LittleEndian.PutUint64(msg[40:], uint64(unix.CmsgSpace(4*n)))
	return b.Data(msg[:]), ctrl
}

// received reads the numbers of n descriptors. A process without room for all of them gets fewer: the header tells.
func received(b *Batch, ctrl Addr, n int) ([]int, error) {
	got := make([]byte, 16+4*n)
	if err := b.Read(ctrl, got); err != nil {
		return nil, err
	}
	have := (int(binary.LittleEndian.Uint64(got)) - 16) / 4
	out := make([]int, 0, n)
	for k := 0; k < have && k < n; k++ {
		out = append(out, int(int32(binary.LittleEndian.Uint32(got[16+4*k:]))))
	}
	return out, nil
}

// Numbers are the descriptors' numbers in the process, after the batch has run.
func (p Passed) Numbers(b *Batch) ([]int, error) {
	if _, err := b.Result(p.call); err != nil {
		return nil, fmt.Errorf("receiving %d descriptors: %w", p.n, err)
	}
	got, err := received(b, p.ctrl, p.n)
	if err == nil && len(got) < p.n {
		err = fmt.Errorf("received %d of %d descriptors: %w", len(got), p.n, unix.EMFILE)
	}
	return got, err
}
