// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	sk_opts "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-opts"
	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Unix sockets: pairs, listening, bound, connected. Sockets name each other by inode number; what is queued is in
// sk-queues.img (unixqueue.go). unixrestore.go is the way back.

func init() {
	register(&kind{
		typ:    fdinfo.FdTypes_UNIXSK,
		match:  func(o *object) bool { return isSocket(o) && socketDomain(o) == unix.AF_UNIX },
		dump:   dumpUnix,
		scan:   scanUnixQueues,
		settle: settleUnix,
		check:  checkUnix,
		open:   openUnix,
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetUsk().GetFlags(), e.GetUsk().GetFown()
		},
	})
}

// States of a socket, as the kernel numbers them for all families (net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpClose       = 7
	tcpListen      = 10
)

// uskExtern marks an entry of a socket that is outside of the tree and is found by its name.
const uskExtern = 1

func isSocket(o *object) bool {
	return o.format() == unix.S_IFSOCK && strings.HasPrefix(o.link, "socket:[") && o.info.Flags&unix.O_PATH == 0
}

func socketDomain(o *object) int {
	v, err := unix.GetsockoptInt(o.local, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return -1
	}
	return v
}

// unixSockets are those met so far.
type unixSockets struct {
	order []*unixFound
	byIno map[uint32]*unixFound
}

type unixFound struct {
	o       *object
	diag    *unixDiag
	entry   *sk_unix.UnixSkEntry
	scanned bool
}

func dumpUnix(c *Collector, o *object) (*fdinfo.FileEntry, error) {
	own, err := ownerOf(o)
	if err != nil {
		return nil, err
	}
	d, err := c.diag()
	if err != nil {
		return nil, o.fail("unix socket", err)
	}
	ino := uint32(o.st.Ino)
	info, err := d.unix(ino)
	if err != nil {
		return nil, o.fail("unix socket (is it of another network namespace?)", err)
	}
	opts, err := readSockOpts(o.local)
	if err != nil {
		return nil, o.fail("unix socket", err)
	}
	e := &sk_unix.UnixSkEntry{
		Id: proto.Uint32(o.id), Ino: proto.Uint32(ino), Type: proto.Uint32(uint32(info.typ)), State: proto.Uint32(uint32(info.state)),
		Flags: proto.Uint32(o.flags()), Uflags: proto.Uint32(0), Backlog: proto.Uint32(0), Peer: proto.Uint32(info.peer),
		Fown: own, Opts: opts, NsId: proto.Uint32(c.opts.netNSID()),
	}
	if info.state == tcpListen {
		*e.Backlog = info.wqueue
		if len(info.pending) > 0 || info.rqueue > 0 {
			return nil, o.refuse(fmt.Sprintf("a listening unix socket with %d connections that are not accepted yet", info.rqueue),
				"try again when the program has accepted them")
		}
	}
	if info.shutdown != 0 {
		e.Shutdown = sk_opts.SkShutdown(info.shutdown).Enum()
	}
	if err := unixName(o, e); err != nil {
		return nil, err
	}
	s := state[unixSockets](c.states)
	if s.byIno == nil {
		s.byIno = map[uint32]*unixFound{}
	}
	o.hold()
	f := &unixFound{o: o, diag: info, entry: e}
	s.order = append(s.order, f)
	s.byIno[ino] = f
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_UNIXSK.Enum(), Id: proto.Uint32(o.id), Usk: e}, nil
}

// siocUnixFile is SIOCUNIXFILE, since Linux 4.13: a descriptor (O_PATH) of the file that a unix socket is bound to.
const siocUnixFile = 0x89e0

// unixName fills in the address of a socket, and which file it is.
func unixName(o *object, e *sk_unix.UnixSkEntry) error {
	name, err := rawSockname(o.local)
	if err != nil {
		return o.fail("getsockname", err)
	}
	e.Name = name
	if len(name) == 0 || name[0] == 0 {
		return nil
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(o.local), siocUnixFile, 0)
	if errno != 0 {
		return o.fail("SIOCUNIXFILE", errno)
	}
	file := int(fd)
	defer unix.Close(file)
	var st, now unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil {
		return o.fail("socket file", err)
	}
	link, err := readlink(file)
	if err != nil {
		return o.fail("socket file", err)
	}
	e.FilePerms = &sk_unix.FilePermsEntry{Mode: proto.Uint32(st.Mode), Uid: proto.Uint32(st.Uid), Gid: proto.Uint32(st.Gid)}
	full, gone := strings.CutSuffix(link, deletedSuffix)
	if !gone {
		err := unix.Fstatat(unix.AT_FDCWD, full, &now, unix.AT_SYMLINK_NOFOLLOW)
		gone = err != nil || now.Dev != st.Dev || now.Ino != st.Ino
	}
	if gone {
		e.Deleted = proto.Bool(true)
	}
	// The address is what the program gave to bind; relative to what shows in the file's path.
	given := string(bytes.TrimRight(name, "\x00"))
	if !strings.HasPrefix(given, "/") {
		dir, ok := strings.CutSuffix(full, "/"+path.Clean(given))
		if !ok {
			return o.refuse("a unix socket bound to the relative path "+strconv.Quote(given)+", which is "+full,
				"let the program bind it by an absolute path")
		}
		if dir == "" {
			dir = "/"
		}
		e.NameDir = proto.String(dir)
	}
	return nil
}

// rawSockname returns the address of a unix socket without its family: package unix turns the leading NUL of abstract
// addresses into an @, and drops what follows a NUL.
func rawSockname(fd int) ([]byte, error) {
	var sa unix.RawSockaddrUnix
	n := uint32(unsafe.Sizeof(sa))
	_, _, errno := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return nil, errno
	}
	family := uint32(unsafe.Sizeof(sa.Family))
	if n <= family {
		return []byte{}, nil
	}
	raw := (*[unsafe.Sizeof(sa)]byte)(unsafe.Pointer(&sa))
	return bytes.Clone(raw[family:min(n, uint32(len(raw)))]), nil
}

// readlink returns the path of a descriptor of the engine.
func readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// settleUnix looks whether the peers of all sockets are there.
func settleUnix(c *Collector) error {
	s := state[unixSockets](c.states)
	for _, f := range s.order {
		if f.diag.peer == 0 || s.byIno[f.diag.peer] != nil {
			continue
		}
		if f.diag.typ != unix.SOCK_DGRAM {
			return f.o.refuse("a unix socket whose other end (inode "+strconv.FormatUint(uint64(f.diag.peer), 10)+") is outside of the tree",
				"include the process that has it, or let the program close it before the dump")
		}
		if err := c.externPeer(f); err != nil {
			return err
		}
	}
	peersFirst(c.entries)
	return nil
}

// peersFirst puts the entry of each unix socket behind that of its peer. CRIU's restore finds the peer of a datagram socket
// only among those that it has read already ("Peer … unresolved"), unless the two are connected to each other.
func peersFirst(entries []*fdinfo.FileEntry) {
	var places []int
	byIno := map[uint32]*fdinfo.FileEntry{}
	for i, e := range entries {
		if u := e.GetUsk(); u != nil {
			places = append(places, i)
			byIno[u.GetIno()] = e
		}
	}
	ordered := make([]*fdinfo.FileEntry, 0, len(places))
	seen := map[*fdinfo.FileEntry]bool{}
	var put func(e *fdinfo.FileEntry)
	put = func(e *fdinfo.FileEntry) {
		if seen[e] {
			return
		}
		seen[e] = true
		if peer := byIno[e.GetUsk().GetPeer()]; peer != nil {
			put(peer)
		}
		ordered = append(ordered, e)
	}
	for _, i := range places {
		put(entries[i])
	}
	for i, at := range places {
		entries[at] = ordered[i]
	}
}

// externPeer makes an entry for the peer of a datagram socket that is outside of the tree: by its name it is found again.
func (c *Collector) externPeer(f *unixFound) error {
	sa, err := unix.Getpeername(f.o.local)
	if err != nil {
		return f.o.fail("getpeername", err)
	}
	name := ""
	if u, ok := sa.(*unix.SockaddrUnix); ok {
		name = u.Name
	}
	if name == "" {
		return f.o.refuse("a unix datagram socket connected to one without a name outside of the tree", "include the process that has it")
	}
	if !c.opts.ExtUnixSk && !slices.Contains(c.opts.External, "unix["+strconv.FormatUint(uint64(f.diag.peer), 10)+"]") {
		return f.o.refuse("a unix datagram socket connected to "+name+" outside of the tree", "allow it with --ext-unix-sk")
	}
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:]
	} else {
		name += "\x00"
	}
	id := c.nextID()
	e := proto.Clone(f.entry).(*sk_unix.UnixSkEntry)
	*e.Id, *e.Ino, *e.Peer, *e.Uflags, *e.State = id, f.diag.peer, 0, uskExtern, tcpClose
	e.Name, e.FilePerms, e.NameDir, e.Deleted, e.Shutdown = []byte(name), nil, nil, nil, nil
	s := state[unixSockets](c.states)
	s.byIno[f.diag.peer] = &unixFound{o: f.o, diag: &unixDiag{}, entry: e, scanned: true}
	c.entries = append(c.entries, &fdinfo.FileEntry{Type: fdinfo.FdTypes_UNIXSK.Enum(), Id: proto.Uint32(id), Usk: e})
	return nil
}

func checkUnix(_ *Set, e *fdinfo.FileEntry) error {
	u := e.GetUsk()
	switch {
	case u == nil:
		return errors.New("no unix socket entry")
	case len(u.GetName()) > 108:
		return fmt.Errorf("address of %d bytes", len(u.GetName()))
	case u.GetShutdown() > 3:
		return fmt.Errorf("shutdown %d", u.GetShutdown())
	}
	switch u.GetType() {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
		return nil
	}
	return fmt.Errorf("type %d", u.GetType())
}
