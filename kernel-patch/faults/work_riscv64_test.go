// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// processes starts one, which forks, and looks how they end.
func (w *worker) processes() error {
	out, err := exec.Command(w.child).Output()
	if exited, ok := errors.AsType[*exec.ExitError](err); !ok || exited.ExitCode() != childStatus {
		return fmt.Errorf("the child ended with %v, not with status %d", err, childStatus)
	}
	if want := binary.LittleEndian.AppendUint32(nil, grandchildStatus<<8); !bytes.Equal(out, want) {
		return fmt.Errorf("the child's child: status % x, not % x", out, want)
	}
	return nil
}

// signals sends one to this process.
func (w *worker) signals() error {
	got := make(chan os.Signal, 1)
	signal.Notify(got, unix.SIGUSR1)
	defer signal.Stop(got)
	if err := unix.Kill(unix.Getpid(), unix.SIGUSR1); err != nil {
		return err
	}
	_, err := within(got, "the signal")
	return err
}

func (w *worker) pipes() error {
	r, wr, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer wr.Close()
	return w.through(wr.Write, r.Read, 8<<10, 3<<10)
}

// through sends n bytes, some at a time, and reads them at the other end.
func (w *worker) through(write, read func([]byte) (int, error), n, chunk int) error {
	sent := w.bytes(n)
	written := make(chan error, 1)
	go func() {
		for rest := sent; len(rest) > 0; {
			k, err := write(rest[:min(chunk, len(rest))])
			if err != nil {
				written <- err
				return
			}
			rest = rest[k:]
		}
		written <- nil
	}()
	got := make([]byte, 0, n)
	for len(got) < n {
		k, err := read(got[len(got):n])
		if err != nil {
			return err
		}
		got = got[:len(got)+k]
	}
	return errors.Join(<-written, differ("data", got, sent))
}

// files writes one, renames it, reads it, and removes it.
func (w *worker) files() error {
	name, other := filepath.Join(w.dir, "a"), filepath.Join(w.dir, "b")
	want := w.bytes(10000)
	if err := os.WriteFile(name, want, 0o644); err != nil {
		return err
	}
	if err := os.Rename(name, other); err != nil {
		return err
	}
	got, err := os.ReadFile(other)
	if err != nil {
		return err
	}
	if err := differ("file", got, want); err != nil {
		return err
	}
	if err := os.Link(other, name); err != nil {
		return err
	}
	if err := os.Truncate(name, 5000); err != nil {
		return err
	}
	info, err := os.Stat(other)
	if err != nil || info.Size() != 5000 {
		return fmt.Errorf("truncated file: %v, %v", info, err)
	}
	return errors.Join(os.Remove(name), os.Remove(other))
}

// mappings writes a file through memory, and copies it on write.
func (w *worker) mappings() error {
	f, err := os.Create(filepath.Join(w.dir, "mapped"))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const size = 4 << 12
	if err := f.Truncate(size); err != nil {
		return err
	}
	shared, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(shared)
	private, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(private)
	want := w.bytes(size)
	copy(shared, want)
	if err := differ("private mapping", private, want); err != nil {
		return err
	}
	for at := range private {
		private[at]++
	}
	got := make([]byte, size)
	if _, err := f.ReadAt(got, 0); err != nil {
		return err
	}
	return errors.Join(unix.Msync(shared, unix.MS_SYNC), differ("file written by memory", got, want))
}

func (w *worker) directories() error {
	dir := filepath.Join(w.dir, "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i := range 3 {
		if err := os.Symlink("nowhere", filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		return fmt.Errorf("directory: %d entries, %v", len(entries), err)
	}
	return os.RemoveAll(dir)
}

// memory maps some, changes what may be done with it, drops it, and finds zeros.
func (w *worker) memory() error {
	const size = 16 << 12
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	want := w.bytes(size)
	copy(m, want)
	if err := unix.Mprotect(m[:size/2], unix.PROT_READ); err != nil {
		return err
	}
	if err := differ("memory", m, want); err != nil {
		return err
	}
	if err := unix.Madvise(m[size/2:], unix.MADV_DONTNEED); err != nil {
		return err
	}
	return differ("dropped memory", m[size/2:], make([]byte, size/2))
}

func (w *worker) unixSockets() error {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = w.through(descriptor(pair[0]).write, descriptor(pair[1]).read, 4<<10, 1<<10)
		// A descriptor travels, too.
		err = errors.Join(err, w.sendDescriptor(pair))
		if err := errors.Join(err, unix.Close(pair[0]), unix.Close(pair[1])); err != nil {
			return err
		}
	}
	return nil
}

// descriptor reads and writes without the runtime's poller.
type descriptor int

func (d descriptor) read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(d), b)
		if err == nil && n == 0 {
			return 0, unix.EPIPE
		}
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (d descriptor) write(b []byte) (int, error) {
	for {
		n, err := unix.Write(int(d), b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (w *worker) sendDescriptor(pair [2]int) error {
	if err := unix.Sendmsg(pair[0], []byte{1}, unix.UnixRights(pair[0]), nil, 0); err != nil {
		return err
	}
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("%d control messages, %v", len(messages), err)
	}
	got, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(got) != 1 {
		return fmt.Errorf("%d descriptors, %v", len(got), err)
	}
	return unix.Close(got[0])
}

var loopback = [4]byte{127, 0, 0, 1}

// bound is a socket of a kind with an address of its own.
func bound(kind int) (int, *unix.SockaddrInet4, error) {
	s, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, err
	}
	if err = unix.Bind(s, &unix.SockaddrInet4{Addr: loopback}); err == nil {
		var name unix.Sockaddr
		if name, err = unix.Getsockname(s); err == nil {
			return s, name.(*unix.SockaddrInet4), nil
		}
	}
	unix.Close(s)
	return -1, nil, err
}

func (w *worker) tcp() error {
	listener, address, err := bound(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	if err := unix.Listen(listener, 1); err != nil {
		return err
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(client)
	// No lingering: thousands of connections must not use up the ports.
	if err := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	if err := unix.Connect(client, address); err != nil {
		return err
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(server)
	return errors.Join(
		w.through(descriptor(client).write, descriptor(server).read, 20<<10, 5<<10),
		w.through(descriptor(server).write, descriptor(client).read, 1<<10, 1<<10))
}

func (w *worker) udp() error {
	server, address, err := bound(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(server)
	client, _, err := bound(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(client)
	want := w.bytes(1000)
	if err := unix.Sendto(client, want, 0, address); err != nil {
		return err
	}
	got := make([]byte, 2000)
	n, _, err := unix.Recvfrom(server, got, 0)
	if err != nil {
		return err
	}
	return differ("datagram", got[:n], want)
}

// timers waits for one of the kernel, and looks that it did not come early.
func (w *worker) timers() error {
	const wait = 200 * time.Microsecond
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	began := time.Now()
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(wait.Nanoseconds())}, nil); err != nil {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err == nil {
			break
		} else if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	if took := time.Since(began); took < wait {
		return fmt.Errorf("a timer of %v came after %v", wait, took)
	}
	_, err = descriptor(fd).read(make([]byte, 8))
	return err
}

func (w *worker) proc() error {
	for _, name := range []string{"/proc/self/stat", "/proc/self/maps", "/proc/meminfo"} {
		text, err := os.ReadFile(name)
		if err != nil || len(text) == 0 {
			return fmt.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
	return nil
}
