// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"
	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
)

// The way back of unix sockets. They depend on each other in every way, so all are made when the first is asked for:
// bound and listening ones, then connections, queues, shutdown, options.

type madeUnix struct {
	done    bool
	order   []*sk_unix.UnixSkEntry
	byIno   map[uint32]*sk_unix.UnixSkEntry
	fds     map[uint32]int   // by id; kept in Set.spare
	places  map[uint32]place // where the address of a bound socket leads to it
	senders map[uint32]int   // by id: what is sent here goes into that socket's queue
}

func openUnix(s *Set, e *fdinfo.FileEntry) (int, error) {
	m := state[madeUnix](s.states)
	if !m.done {
		m.done = true
		if err := s.makeUnix(m); err != nil {
			return -1, err
		}
	}
	fd, ok := m.fds[e.GetId()]
	if !ok {
		return -1, fmt.Errorf("unix socket %d was not restored: %w", e.GetId(), image.ErrCorrupt)
	}
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("unix socket %d: %w", e.GetId(), err)
	}
	return fd, nil
}

func (s *Set) makeUnix(m *madeUnix) error {
	m.byIno, m.fds = map[uint32]*sk_unix.UnixSkEntry{}, map[uint32]int{}
	m.places, m.senders = map[uint32]place{}, map[uint32]int{}
	for _, id := range s.order {
		u := s.files[id].GetUsk()
		if u == nil || s.files[id].GetType() != fdinfo.FdTypes_UNIXSK {
			continue
		}
		if m.byIno[u.GetIno()] != nil {
			return fmt.Errorf("files.img: two unix sockets of inode %d: %w", u.GetIno(), image.ErrCorrupt)
		}
		m.byIno[u.GetIno()] = u
		if u.GetUflags()&uskExtern == 0 {
			m.order = append(m.order, u)
		}
	}
	steps := []func(*madeUnix, *sk_unix.UnixSkEntry) error{s.bindStep, s.pairStep, s.connectStep}
	for _, step := range steps {
		for _, u := range m.order {
			if err := step(m, u); err != nil {
				return err
			}
		}
	}
	// Sockets may be in queues themselves: openUnix finds them already.
	if err := s.fillUnixQueues(func(id uint32) (int, error) { return s.senderTo(m, id) }); err != nil {
		return err
	}
	for _, u := range m.order {
		fd := m.fds[u.GetId()]
		if how := int(u.GetShutdown()); how != 0 {
			if err := unix.Shutdown(fd, how-1); err != nil && !errors.Is(err, unix.ENOTCONN) {
				return fmt.Errorf("unix socket %d: shutdown: %w", u.GetId(), err)
			}
		}
		if err := restoreSockOpts(fd, u.GetOpts()); err != nil {
			return fmt.Errorf("unix socket %d: %w", u.GetId(), err)
		}
	}
	return nil
}

// isPair says that a socket is one of two, even if the other is gone. A bound datagram socket counts as established too once
// another has connected to it.
func isPair(u *sk_unix.UnixSkEntry) bool {
	return u.GetState() == tcpEstablished && (u.GetType() != unix.SOCK_DGRAM || u.GetPeer() == 0 && len(u.GetName()) == 0)
}

func unixSocket(u *sk_unix.UnixSkEntry) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, int(u.GetType())|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("unix socket: %w", err)
	}
	return fd, nil
}

// keep remembers a socket; its descriptor is closed with the Set.
func (s *Set) keep(m *madeUnix, u *sk_unix.UnixSkEntry, fd int) {
	m.fds[u.GetId()] = fd
	s.spare = append(s.spare, fd)
}

// mutual returns the peer of a socket if they are each other's.
func (m *madeUnix) mutual(u *sk_unix.UnixSkEntry) *sk_unix.UnixSkEntry {
	p := m.byIno[u.GetPeer()]
	if u.GetPeer() == 0 || p == nil || p.GetPeer() != u.GetIno() || p.GetType() != u.GetType() || p == u {
		return nil
	}
	return p
}

// bindStep makes the sockets that are no pairs, with their addresses.
func (s *Set) bindStep(m *madeUnix, u *sk_unix.UnixSkEntry) error {
	if isPair(u) || m.mutual(u) != nil {
		return nil
	}
	fd, err := unixSocket(u)
	if err != nil {
		return err
	}
	s.keep(m, u, fd)
	if len(u.GetName()) > 0 {
		// Its address may be one of those that are freed at once.
		if err := earlySockOpts(fd, u.GetOpts()); err != nil {
			return fmt.Errorf("unix socket %s: %w", addrName(u), err)
		}
		if m.places[u.GetId()], err = s.bindUnix(fd, u, false); err != nil {
			return err
		}
	}
	if u.GetState() == tcpListen {
		if err := unix.Listen(fd, int(int32(u.GetBacklog()))); err != nil {
			return fmt.Errorf("unix socket %s: listen: %w", addrName(u), err)
		}
	}
	return nil
}

// pairStep makes connected pairs. A socket whose peer is gone gets one that is closed with the Set.
func (s *Set) pairStep(m *madeUnix, u *sk_unix.UnixSkEntry) error {
	if _, ok := m.fds[u.GetId()]; ok {
		return nil
	}
	peer := m.mutual(u)
	if peer == nil && u.GetPeer() != 0 {
		return fmt.Errorf("files.img: unix socket %d: no peer of inode %d: %w", u.GetId(), u.GetPeer(), image.ErrCorrupt)
	}
	var (
		ends [2]int
		err  error
	)
	named := len(u.GetName()) > 0
	switch {
	case u.GetType() != unix.SOCK_DGRAM && (named || len(peer.GetName()) > 0):
		acc, client := u, peer
		if !named || peer != nil && m.listener(u) == nil && m.listener(peer) != nil {
			acc, client = peer, u
		}
		if ends, err = s.namedPair(m, acc, client); err != nil {
			return err
		}
		if acc != u {
			ends[0], ends[1] = ends[1], ends[0]
		}
	default:
		ends, err = unix.Socketpair(unix.AF_UNIX, int(u.GetType())|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("unix socket pair: %w", err)
		}
	}
	s.keep(m, u, ends[0])
	m.senders[u.GetId()] = ends[1]
	if peer == nil {
		s.spare = append(s.spare, ends[1])
	} else {
		s.keep(m, peer, ends[1])
		m.senders[peer.GetId()] = ends[0]
	}
	if u.GetType() != unix.SOCK_DGRAM {
		return nil
	}
	// A pair of datagram sockets can be bound afterwards.
	for _, x := range []*sk_unix.UnixSkEntry{u, peer} {
		if len(x.GetName()) > 0 {
			if m.places[x.GetId()], err = s.bindUnix(m.fds[x.GetId()], x, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// listener returns the listening socket that has the address of u.
func (m *madeUnix) listener(u *sk_unix.UnixSkEntry) *sk_unix.UnixSkEntry {
	for _, l := range m.order {
		if l != u && l.GetState() == tcpListen && l.GetType() == u.GetType() && len(u.GetName()) > 0 && addrName(l) == addrName(u) {
			return l
		}
	}
	return nil
}

// namedPair connects two sockets of which acc has got its address by accept: through the listening socket if the tree has
// it, else through one made for this. client may be nil.
func (s *Set) namedPair(m *madeUnix, acc, client *sk_unix.UnixSkEntry) (ends [2]int, err error) {
	fail := func(err error) ([2]int, error) {
		return ends, fmt.Errorf("connection to unix socket %s: %w", addrName(acc), err)
	}
	var (
		at     place
		listen int
	)
	if l := m.listener(acc); l != nil {
		listen, at = m.fds[l.GetId()], m.places[l.GetId()]
	} else {
		if listen, err = unixSocket(acc); err != nil {
			return ends, err
		}
		defer unix.Close(listen)
		if at, err = s.bindUnix(listen, acc, true); err != nil {
			return ends, err
		}
		if err := unix.Listen(listen, 1); err != nil {
			return fail(err)
		}
	}
	if ends[1], err = unixSocket(acc); err != nil {
		return ends, err
	}
	if len(client.GetName()) > 0 {
		if _, err := s.bindUnix(ends[1], client, true); err != nil {
			return ends, err
		}
	}
	if err := at.from(func() error { return connectRaw(ends[1], acc.GetName()) }); err != nil {
		return fail(err)
	}
	for {
		if ends[0], _, err = unix.Accept4(listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK); err != nil {
			return fail(fmt.Errorf("accept: %w", err))
		}
		// A client from outside may have been faster; it is sent away.
		if cred, err := unix.GetsockoptUcred(ends[0], unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil || int(cred.Pid) == os.Getpid() {
			return ends, nil
		}
		_ = unix.Close(ends[0])
	}
}

// connectStep connects datagram sockets to those that do not answer to them.
func (s *Set) connectStep(m *madeUnix, u *sk_unix.UnixSkEntry) error {
	if u.GetPeer() == 0 || m.mutual(u) != nil || u.GetType() != unix.SOCK_DGRAM {
		return nil
	}
	peer := m.byIno[u.GetPeer()]
	if peer == nil || len(peer.GetName()) == 0 {
		return fmt.Errorf("unix socket %d is connected to one without a name that is not connected to it: %w", u.GetId(), ErrUnsupported)
	}
	at, ok := m.places[peer.GetId()]
	if !ok {
		at = s.placeOf(peer)
	}
	if err := at.from(func() error { return connectRaw(m.fds[u.GetId()], peer.GetName()) }); err != nil {
		return fmt.Errorf("unix socket %d: connect to %s: %w", u.GetId(), addrName(peer), err)
	}
	return nil
}

// sendRoom is the least send buffer for putting queues back, in bytes: beyond what any program can have queued, since that
// was limited by such a buffer too, and the kernel counts its own overhead in.
const sendRoom = 64 << 20

// senderTo returns a descriptor that sends into the queue of socket id.
func (s *Set) senderTo(m *madeUnix, id uint32) (int, error) {
	fd, ok := m.senders[id]
	if !ok {
		u := s.files[id].GetUsk()
		_, bound := m.fds[id]
		if !bound || u.GetType() != unix.SOCK_DGRAM || len(u.GetName()) == 0 {
			return -1, fmt.Errorf("sk-queues.img: nothing can send to unix socket %d: %w", id, image.ErrCorrupt)
		}
		var err error
		if fd, err = unixSocket(u); err != nil {
			return -1, err
		}
		s.spare = append(s.spare, fd)
		if err := m.places[id].from(func() error { return connectRaw(fd, u.GetName()) }); err != nil {
			return -1, fmt.Errorf("unix socket %s: connect: %w", addrName(u), err)
		}
		m.senders[id] = fd
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendRoom); err != nil {
		return -1, fmt.Errorf("unix socket %d: SO_SNDBUFFORCE: %w", id, err)
	}
	return fd, nil
}
