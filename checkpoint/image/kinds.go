// SPDX-License-Identifier: Apache-2.0

package image

import (
	"strconv"
	"strings"
	"sync"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/apparmor"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/autofs"
	binfmt_misc "github.com/checkpoint-restore/go-criu/v8/crit/images/binfmt-misc"
	bpfmap_data "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-data"
	bpfmap_file "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/cgroup"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/cpuinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	criu_sa "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-sa"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventpoll"
	ext_file "github.com/checkpoint-restore/go-criu/v8/crit/images/ext-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fh"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fifo"
	file_lock "github.com/checkpoint-restore/go-criu/v8/crit/images/file-lock"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fsnotify"
	ghost_file "github.com/checkpoint-restore/go-criu/v8/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	ipc_msg "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-msg"
	ipc_sem "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-sem"
	ipc_shm "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-shm"
	ipc_var "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-var"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/netdev"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/ns"
	packet_sock "github.com/checkpoint-restore/go-criu/v8/crit/images/packet-sock"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pidns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pipe"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/rlimit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/seccomp"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/siginfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/signalfd"
	sk_inet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-inet"
	sk_netlink "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-netlink"
	sk_packet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-packet"
	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	tcp_stream "github.com/checkpoint-restore/go-criu/v8/crit/images/tcp-stream"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timer"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timerfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/tty"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/tun"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/userns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/utsns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"github.com/checkpoint-restore/go-criu/v8/magic"
	"google.golang.org/protobuf/proto"
)

// ID says what stands in a kind's file name where the pattern has an id.
type ID uint8

const (
	IDNone ID = iota // no id: pstree.img
	IDDec            // decimal: core-12.img
	IDHex            // hexadecimal without 0x: ghost-file-1f.img
)

// Header is the form of an image's first bytes; doc.go draws them.
type Header uint8

const (
	HeaderCommon  Header = iota // IMG_COMMON_MAGIC, magic of the kind
	HeaderService               // IMG_SERVICE_MAGIC, magic of the kind
	HeaderSingle                // magic of the kind only: inventory.img
	HeaderNone                  // raw contents, no entries
)

// Kind describes one kind of image file.
type Kind struct {
	Name   string // file name without id and suffix: "core", "pages", "stats-dump"
	Suffix string // ".img" but for stats-* and the tar archives
	ID     ID
	Header Header
	Magic  string // CRIU's name of the magic, as in go-criu's magic package
	// New returns an empty message for the i-th entry (from 0) of a file. Nil for raw kinds.
	New func(i int) proto.Message
}

func entry[T any, P interface {
	*T
	proto.Message
}]() func(int) proto.Message {
	return func(int) proto.Message { return P(new(T)) }
}

// headed makes images whose first entry differs from those that follow.
func headed[H, T any, PH interface {
	*H
	proto.Message
}, PT interface {
	*T
	proto.Message
}]() func(int) proto.Message {
	return func(i int) proto.Message {
		if i == 0 {
			return PH(new(H))
		}
		return PT(new(T))
	}
}

// Kinds lists every image that CRIU 4.1 writes or still reads. The names are those that the program
// itself uses; the messages are those of crit.
var Kinds = []Kind{
	{"inventory", ".img", IDNone, HeaderSingle, "INVENTORY", entry[inventory.InventoryEntry]()},
	{"pstree", ".img", IDNone, HeaderCommon, "PSTREE", entry[pstree.PstreeEntry]()},
	{"core", ".img", IDDec, HeaderCommon, "CORE", entry[criu_core.CoreEntry]()},
	{"ids", ".img", IDDec, HeaderCommon, "IDS", entry[criu_core.TaskKobjIdsEntry]()},
	{"mm", ".img", IDDec, HeaderCommon, "MM", entry[mm.MmEntry]()},
	{"fs", ".img", IDDec, HeaderCommon, "FS", entry[fs.FsEntry]()},
	{"fdinfo", ".img", IDDec, HeaderCommon, "FDINFO", entry[fdinfo.FdinfoEntry]()},
	{"files", ".img", IDNone, HeaderCommon, "FILES", entry[fdinfo.FileEntry]()},
	{"pagemap", ".img", IDDec, HeaderCommon, "PAGEMAP", headed[pagemap.PagemapHead, pagemap.PagemapEntry]()},
	{"pagemap-shmem", ".img", IDDec, HeaderCommon, "PAGEMAP", headed[pagemap.PagemapHead, pagemap.PagemapEntry]()},
	{"pages", ".img", IDDec, HeaderNone, "", nil},
	{"pages-shmem", ".img", IDDec, HeaderNone, "", nil},
	{"memfd", ".img", IDNone, HeaderCommon, "MEMFD_INODE", entry[memfd.MemfdInodeEntry]()},
	{"seccomp", ".img", IDNone, HeaderCommon, "SECCOMP", entry[seccomp.SeccompEntry]()},
	{"stats-dump", "", IDNone, HeaderService, "STATS", entry[stats.StatsEntry]()},
	{"stats-restore", "", IDNone, HeaderService, "STATS", entry[stats.StatsEntry]()},
	{"ghost-file", ".img", IDHex, HeaderCommon, "GHOST_FILE", headed[ghost_file.GhostFileEntry, ghost_file.GhostChunkEntry]()},
	{"remap-fpath", ".img", IDNone, HeaderCommon, "REMAP_FPATH", entry[remap_file_path.RemapFilePathEntry]()},
	{"pipes-data", ".img", IDNone, HeaderCommon, "PIPES_DATA", entry[pipe_data.PipeDataEntry]()},
	{"fifo-data", ".img", IDNone, HeaderCommon, "FIFO_DATA", entry[pipe_data.PipeDataEntry]()},
	{"sk-queues", ".img", IDNone, HeaderCommon, "SK_QUEUES", entry[sk_packet.SkPacketEntry]()},
	{"tcp-stream", ".img", IDHex, HeaderCommon, "TCP_STREAM", entry[tcp_stream.TcpStreamEntry]()},
	{"tty-info", ".img", IDNone, HeaderCommon, "TTY_INFO", entry[tty.TtyInfoEntry]()},
	{"tty-data", ".img", IDNone, HeaderCommon, "TTY_DATA", entry[tty.TtyDataEntry]()},
	{"filelocks", ".img", IDNone, HeaderCommon, "FILE_LOCKS", entry[file_lock.FileLockEntry]()},
	{"cgroup", ".img", IDNone, HeaderCommon, "CGROUP", entry[cgroup.CgroupEntry]()},
	{"cpuinfo", ".img", IDNone, HeaderCommon, "CPUINFO", entry[cpuinfo.CpuinfoEntry]()},
	{"apparmor", ".img", IDNone, HeaderCommon, "APPARMOR", entry[apparmor.ApparmorEntry]()},
	{"bpfmap-data", ".img", IDNone, HeaderCommon, "BPFMAP_DATA", entry[bpfmap_data.BpfmapDataEntry]()},
	{"irmap-cache", ".img", IDNone, HeaderCommon, "IRMAP_CACHE", entry[fh.IrmapCacheEntry]()},

	// Namespaces.
	{"pidns", ".img", IDDec, HeaderCommon, "PIDNS", entry[pidns.PidnsEntry]()},
	{"timens", ".img", IDDec, HeaderCommon, "TIMENS", entry[timens.TimensEntry]()},
	{"userns", ".img", IDDec, HeaderCommon, "USERNS", entry[userns.UsernsEntry]()},
	{"utsns", ".img", IDDec, HeaderCommon, "UTSNS", entry[utsns.UtsnsEntry]()},
	{"ipcns-var", ".img", IDDec, HeaderCommon, "IPC_VAR", entry[ipc_var.IpcVarEntry]()},
	{"ipcns-shm", ".img", IDDec, HeaderCommon, "IPCNS_SHM", entry[ipc_shm.IpcShmEntry]()},
	{"ipcns-msg", ".img", IDDec, HeaderCommon, "IPCNS_MSG", entry[ipc_msg.IpcMsgEntry]()},
	{"ipcns-sem", ".img", IDDec, HeaderCommon, "IPCNS_SEM", entry[ipc_sem.IpcSemEntry]()},
	{"mountpoints", ".img", IDDec, HeaderCommon, "MNTS", entry[mnt.MntEntry]()},
	{"autofs", ".img", IDDec, HeaderCommon, "AUTOFS", entry[autofs.AutofsEntry]()},
	{"binfmt-misc", ".img", IDNone, HeaderCommon, "BINFMT_MISC", entry[binfmt_misc.BinfmtMiscEntry]()},
	{"binfmt-misc", ".img", IDDec, HeaderCommon, "BINFMT_MISC", entry[binfmt_misc.BinfmtMiscEntry]()},
	{"netns", ".img", IDDec, HeaderCommon, "NETNS", entry[netdev.NetnsEntry]()},
	{"netdev", ".img", IDDec, HeaderCommon, "NETDEV", entry[netdev.NetDeviceEntry]()},
	{"netns-ct", ".img", IDDec, HeaderNone, "", nil},
	{"netns-exp", ".img", IDDec, HeaderNone, "", nil},
	{"ifaddr", ".img", IDDec, HeaderNone, "", nil},
	{"route", ".img", IDDec, HeaderNone, "", nil},
	{"route6", ".img", IDDec, HeaderNone, "", nil},
	{"rule", ".img", IDDec, HeaderNone, "", nil},
	{"iptables", ".img", IDDec, HeaderNone, "", nil},
	{"ip6tables", ".img", IDDec, HeaderNone, "", nil},
	{"nftables", ".img", IDDec, HeaderNone, "", nil},
	{"tmpfs", ".tar.gz.img", IDDec, HeaderNone, "", nil},
	{"tmpfs-dev", ".tar.gz.img", IDDec, HeaderNone, "", nil},

	// What CRIU before 3.3 kept in a file a kind; files.img holds it now.
	{"reg-files", ".img", IDNone, HeaderCommon, "REG_FILES", entry[regfile.RegFileEntry]()},
	{"ext-files", ".img", IDNone, HeaderCommon, "EXT_FILES", entry[ext_file.ExtFileEntry]()},
	{"ns-files", ".img", IDNone, HeaderCommon, "NS_FILES", entry[ns.NsFileEntry]()},
	{"eventfd", ".img", IDNone, HeaderCommon, "EVENTFD_FILE", entry[eventfd.EventfdFileEntry]()},
	{"eventpoll", ".img", IDNone, HeaderCommon, "EVENTPOLL_FILE", entry[eventpoll.EventpollFileEntry]()},
	{"eventpoll-tfd", ".img", IDNone, HeaderCommon, "EVENTPOLL_TFD", entry[eventpoll.EventpollTfdEntry]()},
	{"signalfd", ".img", IDNone, HeaderCommon, "SIGNALFD", entry[signalfd.SignalfdEntry]()},
	{"timerfd", ".img", IDNone, HeaderCommon, "TIMERFD", entry[timerfd.TimerfdEntry]()},
	{"inotify", ".img", IDNone, HeaderCommon, "INOTIFY_FILE", entry[fsnotify.InotifyFileEntry]()},
	{"inotify-wd", ".img", IDNone, HeaderCommon, "INOTIFY_WD", entry[fsnotify.InotifyWdEntry]()},
	{"fanotify", ".img", IDNone, HeaderCommon, "FANOTIFY_FILE", entry[fsnotify.FanotifyFileEntry]()},
	{"fanotify-mark", ".img", IDNone, HeaderCommon, "FANOTIFY_MARK", entry[fsnotify.FanotifyMarkEntry]()},
	{"pipes", ".img", IDNone, HeaderCommon, "PIPES", entry[pipe.PipeEntry]()},
	{"fifo", ".img", IDNone, HeaderCommon, "FIFO", entry[fifo.FifoEntry]()},
	{"unixsk", ".img", IDNone, HeaderCommon, "UNIXSK", entry[sk_unix.UnixSkEntry]()},
	{"inetsk", ".img", IDNone, HeaderCommon, "INETSK", entry[sk_inet.InetSkEntry]()},
	{"packetsk", ".img", IDNone, HeaderCommon, "PACKETSK", entry[packet_sock.PacketSockEntry]()},
	{"netlinksk", ".img", IDNone, HeaderCommon, "NETLINK_SK", entry[sk_netlink.NetlinkSkEntry]()},
	{"tty", ".img", IDNone, HeaderCommon, "TTY_FILES", entry[tty.TtyFileEntry]()},
	{"tunfile", ".img", IDNone, HeaderCommon, "TUNFILE", entry[tun.TunfileEntry]()},
	{"bpfmap-file", ".img", IDNone, HeaderCommon, "BPFMAP_FILE", entry[bpfmap_file.BpfmapFileEntry]()},

	// What core-PID.img and mm-PID.img hold now.
	{"creds", ".img", IDDec, HeaderCommon, "CREDS", entry[creds.CredsEntry]()},
	{"sigacts", ".img", IDDec, HeaderCommon, "SIGACT", entry[criu_sa.SaEntry]()},
	{"itimers", ".img", IDDec, HeaderCommon, "ITIMERS", entry[timer.ItimerEntry]()},
	{"posix-timers", ".img", IDDec, HeaderCommon, "POSIX_TIMERS", entry[timer.PosixTimerEntry]()},
	{"rlimit", ".img", IDDec, HeaderCommon, "RLIMIT", entry[rlimit.RlimitEntry]()},
	{"signal-p", ".img", IDDec, HeaderCommon, "SIGNAL", entry[siginfo.SiginfoEntry]()},
	{"signal-s", ".img", IDDec, HeaderCommon, "SIGNAL", entry[siginfo.SiginfoEntry]()},
	{"vmas", ".img", IDDec, HeaderCommon, "VMAS", entry[vma.VmaEntry]()},
}

type kindKey struct {
	name, suffix string
	id           bool
}

var suffixes = []string{".tar.gz.img", ".img", ""}

var magics = sync.OnceValue(magic.LoadMagic)

var kindsBy = sync.OnceValue(func() map[kindKey]*Kind {
	m := make(map[kindKey]*Kind, len(Kinds))
	for i := range Kinds {
		k := &Kinds[i]
		m[kindKey{k.Name, k.Suffix, k.ID != IDNone}] = k
	}
	return m
})

// Warm makes what otherwise the first use makes: tables of the kinds and of the checksums.
func Warm() {
	kindsBy()
	magics()
	castagnoli()
}

// KindOf finds the kind of an image by its file name, and the id in the name (0 when the kind has
// none). ok is false for a name that is no image of CRIU's.
func KindOf(name string) (k *Kind, id uint64, ok bool) {
	for _, suffix := range suffixes {
		stem, found := strings.CutSuffix(name, suffix)
		if !found {
			continue
		}
		if k := kindsBy()[kindKey{stem, suffix, false}]; k != nil {
			return k, 0, true
		}
		dash := strings.LastIndexByte(stem, '-')
		if dash < 0 {
			continue
		}
		k := kindsBy()[kindKey{stem[:dash], suffix, true}]
		if k == nil {
			continue
		}
		base := 10
		if k.ID == IDHex {
			base = 16
		}
		id, err := strconv.ParseUint(stem[dash+1:], base, 64)
		// Only the spelling that CRIU writes: one file, one name.
		if err != nil || strconv.FormatUint(id, base) != stem[dash+1:] {
			return nil, 0, false
		}
		return k, id, true
	}
	return nil, 0, false
}

// header returns the bytes that a file of the kind begins with.
func (k *Kind) header() []byte {
	word := func(b []byte, name string) []byte {
		return le32(b, uint32(magics().ByName[name]))
	}
	switch k.Header {
	case HeaderNone:
		return nil
	case HeaderSingle:
		return word(nil, k.Magic)
	case HeaderService:
		return word(word(nil, "IMG_SERVICE"), k.Magic)
	}
	return word(word(nil, "IMG_COMMON"), k.Magic)
}

func le32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}
