// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/trapline/trapline/checkpoint/procfs"
)

var (
	// ErrUnsupported is wrapped by every refusal of an object that this version can't carry. The text around it names
	// process, descriptor and object, and says what to do.
	ErrUnsupported = errors.New("can't be checkpointed")
	// ErrChanged is wrapped when a file is not what it was at the time of the dump.
	ErrChanged = errors.New("changed since the dump")
)

// Task is a process whose descriptors are collected. It must be stopped from the first [Collector.Collect] to the end
// of [Collector.Finish], except for [Precheck].
type Task struct {
	Pid   int          // in the engine's PID namespace
	VPid  int          // in the tree's PID namespace, which images use
	Comm  string       // for messages
	Proc  *procfs.Proc // of Pid; owned by the caller
	Pidfd int          // of Pid, owned by the caller; 0 or less: the Collector opens its own
}

func (t *Task) String() string { return fmt.Sprintf("pid %d (%s)", t.VPid, t.Comm) }

// Options says what to carry and what to refuse. The names are those of criu-dump's flags. A nil *Options is the
// zero value.
type Options struct {
	TCPClose   bool // record established TCP connections as closed; without it they are refused
	FileLocks  bool // record file locks; without it they are refused
	LinkRemap  bool // files that lost the name they were opened by, but have another: hard-link them beside the old one
	ExtUnixSk  bool // allow connected datagram sockets whose peer is outside
	SizeOnly   bool // do not record the build IDs of mapped programs and libraries (--file-validation filesize)
	SkipFlight bool // leave out connections that a listening socket has not accepted yet

	// GhostLimit is the most bytes on disk of a deleted file that are stored; 0 means 1 MiB.
	GhostLimit int64

	// External lists sockets that ExtUnixSk would allow, one by one, as "unix[INODE]" of the peer outside. Others have no meaning.
	External []string

	// NetNSID is the id of the network namespace in the tree's ids-PID.img, which sockets carry. 0 means 2, as CRIU has it.
	NetNSID uint32

	// PagesID returns the next free number of a pages-N.img. It must be set if memfds may be met.
	PagesID func() uint32

	// Log gets messages; nil is silent.
	Log *slog.Logger
}

func (o *Options) ghostLimit() int64 {
	if o.GhostLimit > 0 {
		return o.GhostLimit
	}
	return 1 << 20
}

func (o *Options) netNSID() uint32 {
	if o.NetNSID != 0 {
		return o.NetNSID
	}
	return 2
}
