// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"
	"golang.org/x/sys/unix"
)

// Addresses of unix sockets. A path in an address is as the program gave it: relative to its directory at the time, below
// its root. So the engine binds and connects from a thread that has taken both on.

// place is where an address means something.
type place struct {
	root int    // descriptor of the root directory
	dir  string // current directory below it
}

// from runs fn in a place, on a thread of its own.
func (p place) from(fn func() error) error {
	failed := make(chan error)
	go func() {
		// The thread keeps its own root and directory and ends with the goroutine: it is never unlocked.
		runtime.LockOSThread()
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare(CLONE_FS): %w", err)
			}
			if err := unix.Fchdir(p.root); err != nil {
				return fmt.Errorf("fchdir: %w", err)
			}
			if err := unix.Chroot("."); err != nil {
				return fmt.Errorf("chroot: %w", err)
			}
			if err := unix.Chdir(p.dir); err != nil {
				return fmt.Errorf("directory %s: %w", p.dir, err)
			}
			return fn()
		}()
	}()
	return <-failed
}

func rawAddr(name []byte) (sa unix.RawSockaddrUnix, size uintptr) {
	sa.Family = unix.AF_UNIX
	raw := (*[unsafe.Sizeof(sa)]byte)(unsafe.Pointer(&sa))
	at := unsafe.Sizeof(sa.Family)
	return sa, at + uintptr(copy(raw[at:], name))
}

func bindRaw(fd int, name []byte) error {
	sa, size := rawAddr(name)
	if _, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa)), size); errno != 0 {
		return errno
	}
	return nil
}

func connectRaw(fd int, name []byte) error {
	sa, size := rawAddr(name)
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), size); errno != 0 {
		return errno
	}
	return nil
}

func isAbstract(name []byte) bool { return len(name) > 0 && name[0] == 0 }

// addrName is an address for messages and for comparing.
func addrName(e *sk_unix.UnixSkEntry) string {
	n := e.GetName()
	if isAbstract(n) {
		return strconv.Quote("@" + string(n[1:]))
	}
	given := strings.TrimRight(string(n), "\x00")
	if !path.IsAbs(given) {
		given = path.Join(e.GetNameDir(), given)
	}
	return given
}

// placeOf is where the address of an entry means its file.
func (s *Set) placeOf(e *sk_unix.UnixSkEntry) place {
	dir := e.GetNameDir()
	if dir == "" {
		dir = "/"
	}
	return place{s.root, dir}
}

// privatePlace is an empty directory in which a socket can be bound to any path without it being seen. It is removed
// with the Set.
func (s *Set) privatePlace(e *sk_unix.UnixSkEntry) (place, error) {
	root, err := os.MkdirTemp("", "trapline-unix-")
	if err != nil {
		return place{}, err
	}
	s.temporary(func() error { return os.RemoveAll(root) })
	given := strings.TrimRight(string(e.GetName()), "\x00")
	// A path may lead upwards; below the root it stays below. What is relative starts deep enough for that.
	p := place{dir: "/"}
	if !path.IsAbs(given) {
		p.dir = strings.Repeat("/d", strings.Count(given, "..")+1)
	}
	for _, d := range []string{p.dir, path.Dir(path.Join(p.dir, given))} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o700); err != nil {
			return place{}, err
		}
	}
	if p.root, err = unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return place{}, err
	}
	s.spare = append(s.spare, p.root)
	return p, nil
}

// bindUnix gives a socket the address of its entry and returns where that leads to it. hidden: not at the real place, if it
// is a path.
func (s *Set) bindUnix(fd int, e *sk_unix.UnixSkEntry, hidden bool) (place, error) {
	name := e.GetName()
	fail := func(err error) (place, error) {
		return place{}, fmt.Errorf("unix socket %s: bind: %w", addrName(e), err)
	}
	if isAbstract(name) {
		if err := bindRaw(fd, name); err != nil {
			return fail(err)
		}
		return s.placeOf(e), nil
	}
	if hidden || e.GetDeleted() {
		p, err := s.privatePlace(e)
		if err == nil {
			err = p.from(func() error { return bindRaw(fd, name) })
		}
		if err != nil {
			return fail(err)
		}
		return p, nil
	}
	if err := s.clearAddress(e); err != nil {
		return place{}, err
	}
	p := s.placeOf(e)
	if err := p.from(func() error { return bindRaw(fd, name) }); err != nil {
		return fail(err)
	}
	return p, s.ownSocketFile(e)
}

// ownSocketFile gives the new file of a bound socket the owner and mode that the old one had.
func (s *Set) ownSocketFile(e *sk_unix.UnixSkEntry) error {
	dir, base, err := s.parent(addrName(e))
	if err != nil {
		return fmt.Errorf("unix socket %s: %w", addrName(e), err)
	}
	s.spare = append(s.spare, dir)
	s.undo = append(s.undo, func() { _ = unix.Unlinkat(dir, base, 0) })
	if p := e.GetFilePerms(); p != nil {
		err = unix.Fchownat(dir, base, int(p.GetUid()), int(p.GetGid()), unix.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			err = unix.Fchmodat(dir, base, p.GetMode()&0o7777, 0)
		}
		if err != nil {
			return fmt.Errorf("unix socket %s: owner and mode: %w", addrName(e), err)
		}
	}
	return nil
}

// clearAddress puts the file of a socket that nobody has any more out of the way: until the restore has succeeded.
func (s *Set) clearAddress(e *sk_unix.UnixSkEntry) error {
	name := addrName(e)
	dir, base, err := s.parent(name)
	if err != nil {
		return fmt.Errorf("unix socket %s: its directory: %w", name, err)
	}
	s.spare = append(s.spare, dir)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return fmt.Errorf("unix socket %s: %w", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("unix socket %s: %s is there now: %w", name, formatName(st.Mode), ErrChanged)
	}
	if s.someoneHas(e) {
		return fmt.Errorf("unix socket %s: another process is listening there: %w", name, unix.EADDRINUSE)
	}
	aside := ".trapline." + strconv.Itoa(os.Getpid()) + "." + base
	if err := unix.Renameat(dir, base, dir, aside); err != nil {
		return fmt.Errorf("unix socket %s: move the old file away: %w", name, err)
	}
	s.finish = append(s.finish, func() error { return unix.Unlinkat(dir, aside, 0) })
	s.undo = append(s.undo, func() { _ = unix.Renameat(dir, aside, dir, base) })
	return nil
}

// someoneHas asks whether a socket is bound to the file of an address, without disturbing it: connecting with another
// type of socket gives EPROTOTYPE if so, ECONNREFUSED if not.
func (s *Set) someoneHas(e *sk_unix.UnixSkEntry) bool {
	typ := unix.SOCK_SEQPACKET
	if e.GetType() == unix.SOCK_SEQPACKET {
		typ = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	err = s.placeOf(e).from(func() error { return connectRaw(fd, e.GetName()) })
	return !errors.Is(err, unix.ECONNREFUSED)
}
