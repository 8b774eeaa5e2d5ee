// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	sk_inet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-inet"
	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// File is one descriptor.
type File struct {
	FD      uint32 `json:"fd"`
	ID      uint32 `json:"id"` // descriptors with the same id share one open file
	Kind    string `json:"kind"`
	What    string `json:"what"` // path, peer, contents: whatever tells it from others
	Flags   string `json:"flags,omitempty"`
	Pos     uint64 `json:"pos,omitempty"` // bytes
	CloExec bool   `json:"cloexec,omitempty"`
}

func (d *describer) descriptors(p *Process) error {
	var ids criu_core.TaskKobjIdsEntry
	err := d.r.One(fmt.Sprintf("ids-%d.img", p.PID), &ids)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	p.FilesID = ids.GetFilesId()
	files, ok := d.tables[p.FilesID]
	if !ok {
		if err := optional(d.r.Each(fmt.Sprintf("fdinfo-%d.img", p.FilesID), nil, func(m proto.Message, _ io.Reader) error {
			e := m.(*fdinfo.FdinfoEntry)
			f := d.file(e.GetType(), e.GetId())
			f.FD, f.CloExec = e.GetFd(), e.GetFlags()&unix.FD_CLOEXEC != 0
			files = append(files, f)
			return nil
		})); err != nil {
			return err
		}
		d.tables[p.FilesID] = files
	}
	if files != nil {
		p.Files = files
	}
	return nil
}

// file describes an open file. All getters work on nil, so an entry that lacks what its type
// promises gives empty values.
func (d *describer) file(typ fdinfo.FdTypes, id uint32) File {
	f := File{ID: id, Kind: strings.ToLower(typ.String())}
	e := d.files[id]
	if e == nil {
		f.What = "?" // of CRIU before 3.3, which had an image a kind
		return f
	}
	flags := func(v uint32) { f.Flags = openFlags(v) }
	switch typ {
	case fdinfo.FdTypes_REG:
		f.What, f.Pos = e.GetReg().GetName(), e.GetReg().GetPos()
		flags(e.GetReg().GetFlags())
	case fdinfo.FdTypes_PIPE:
		id := e.GetPipe().GetPipeId()
		f.What = fmt.Sprintf("pipe:[%d]%s", id, d.inPipe(id))
		flags(e.GetPipe().GetFlags())
	case fdinfo.FdTypes_FIFO:
		reg := d.files[e.GetFifo().GetRegfId()].GetReg()
		f.What = reg.GetName() + d.inPipe(e.GetFifo().GetPipeId())
		flags(reg.GetFlags())
	case fdinfo.FdTypes_INETSK:
		f.What = inetSocket(e.GetIsk())
		flags(e.GetIsk().GetFlags())
	case fdinfo.FdTypes_UNIXSK:
		f.What = unixSocket(e.GetUsk())
		flags(e.GetUsk().GetFlags())
	case fdinfo.FdTypes_PACKETSK:
		f.What = fmt.Sprintf("protocol %#x, interface %d", e.GetPsk().GetProtocol(), e.GetPsk().GetIfindex())
		flags(e.GetPsk().GetFlags())
	case fdinfo.FdTypes_NETLINKSK:
		f.What = fmt.Sprintf("protocol %d, port %d", e.GetNlsk().GetProtocol(), e.GetNlsk().GetPortid())
		flags(e.GetNlsk().GetFlags())
	case fdinfo.FdTypes_EVENTFD:
		f.What = fmt.Sprintf("count %d", e.GetEfd().GetCounter())
		flags(e.GetEfd().GetFlags())
	case fdinfo.FdTypes_EVENTPOLL:
		fds := make([]string, 0, len(e.GetEpfd().GetTfd()))
		for _, t := range e.GetEpfd().GetTfd() {
			fds = append(fds, strconv.FormatUint(uint64(t.GetTfd()), 10))
		}
		f.What = "watches fd " + strings.Join(fds, ", ")
		if len(fds) == 0 {
			f.What = "watches nothing"
		}
		flags(e.GetEpfd().GetFlags())
	case fdinfo.FdTypes_SIGNALFD:
		f.What = fmt.Sprintf("mask %#x", e.GetSgfd().GetSigmask())
		flags(e.GetSgfd().GetFlags())
	case fdinfo.FdTypes_TIMERFD:
		t := e.GetTfd()
		f.What = fmt.Sprintf("clock %d, %d.%09d s every %d.%09d s", t.GetClockid(), t.GetVsec(), t.GetVnsec(), t.GetIsec(), t.GetInsec())
		flags(t.GetFlags())
	case fdinfo.FdTypes_INOTIFY:
		f.What = fmt.Sprintf("%d watches", len(e.GetIfy().GetWd()))
		flags(e.GetIfy().GetFlags())
	case fdinfo.FdTypes_FANOTIFY:
		f.What = fmt.Sprintf("%d marks", len(e.GetFfy().GetMark()))
		flags(e.GetFfy().GetFlags())
	case fdinfo.FdTypes_TTY:
		f.What = d.files[e.GetTty().GetRegfId()].GetReg().GetName()
		if f.What == "" {
			f.What = fmt.Sprintf("tty %#x", e.GetTty().GetTtyInfoId())
		}
		flags(e.GetTty().GetFlags())
	case fdinfo.FdTypes_MEMFD:
		f.What, f.Pos = d.memfds[uint64(e.GetMemfd().GetInodeId())].GetName(), e.GetMemfd().GetPos()
		flags(e.GetMemfd().GetFlags())
	case fdinfo.FdTypes_NS:
		f.What = fmt.Sprintf("namespace %d", e.GetNsf().GetNsId())
		flags(e.GetNsf().GetFlags())
	case fdinfo.FdTypes_PIDFD:
		f.What = fmt.Sprintf("process %d", e.GetPidfd().GetNspid())
		flags(e.GetPidfd().GetFlags())
	case fdinfo.FdTypes_TUNF:
		f.What = e.GetTunf().GetNetdev()
	}
	return f
}

func (d *describer) inPipe(id uint32) string {
	if n := d.pipes[id]; n > 0 {
		return fmt.Sprintf(", %d bytes in it", n)
	}
	return ""
}

// openFlagNames are the flags of open(2) that a descriptor keeps; the access mode comes first.
var openFlagNames = []struct {
	bit  uint32
	name string
}{
	{unix.O_APPEND, "append"},
	{unix.O_NONBLOCK, "nonblock"},
	{unix.O_SYNC, "sync"},
	{unix.O_DSYNC, "dsync"},
	{unix.O_ASYNC, "async"},
	{unix.O_DIRECT, "direct"},
	{unix.O_DIRECTORY, "directory"},
	{unix.O_NOATIME, "noatime"},
	{unix.O_PATH, "path"},
}

func openFlags(v uint32) string {
	names := []string{[...]string{"r", "w", "rw", "none"}[v&unix.O_ACCMODE]}
	for _, f := range openFlagNames {
		if v&f.bit == f.bit {
			names = append(names, f.name)
			v &^= f.bit // O_SYNC contains O_DSYNC
		}
	}
	return strings.Join(names, ",")
}

// tcpStates are those of /proc/net/tcp.
var tcpStates = [...]string{
	"", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2",
	"time-wait", "closed", "close-wait", "last-ack", "listen", "closing", "new-syn-recv",
}

func socketState(s uint32) string {
	if s < uint32(len(tcpStates)) {
		return tcpStates[s]
	}
	return strconv.FormatUint(uint64(s), 10)
}

func inetSocket(s *sk_inet.InetSkEntry) string {
	proto := map[uint32]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_UDPLITE: "udplite"}[s.GetProto()]
	if proto == "" {
		proto = fmt.Sprintf("ip protocol %d", s.GetProto())
	}
	out := fmt.Sprintf("%s %s", proto, endpoint(s.GetSrcAddr(), s.GetSrcPort()))
	if s.GetDstPort() != 0 {
		out += " → " + endpoint(s.GetDstAddr(), s.GetDstPort())
	}
	return out + " " + socketState(s.GetState())
}

// endpoint formats an address that is kept as words in network order, read as little-endian.
func endpoint(words []uint32, port uint32) string {
	b := make([]byte, 0, 16)
	for _, w := range words[:min(len(words), 4)] {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	addr, ok := netip.AddrFromSlice(b)
	if !ok || port > 0xffff {
		return fmt.Sprintf("?:%d", port)
	}
	return netip.AddrPortFrom(addr, uint16(port)).String()
}

func unixSocket(s *sk_unix.UnixSkEntry) string {
	kind := map[uint32]string{unix.SOCK_STREAM: "stream", unix.SOCK_DGRAM: "dgram", unix.SOCK_SEQPACKET: "seqpacket"}[s.GetType()]
	out := fmt.Sprintf("%s:[%d]", kind, s.GetIno())
	if name := s.GetName(); len(name) > 0 {
		text := string(name)
		if name[0] == 0 {
			text = "@" + strings.TrimPrefix(text, "\x00") // abstract
		}
		out += " " + strings.TrimRight(text, "\x00")
	}
	if s.GetPeer() != 0 {
		out += fmt.Sprintf(" ↔ [%d]", s.GetPeer())
	}
	return out + " " + socketState(s.GetState())
}
