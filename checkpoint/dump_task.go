// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/procfs"
)

// target is one process of the tree as a dump collects it.
type target struct {
	pid      int
	vpid     int // as the process itself sees it
	parent   *target
	children []*target
	proc     *procfs.Proc
	pidfd    int
	state    uint32
	stopSig  unix.Signal // that stopped a stopped task

	stat    procfs.Stat
	status  procfs.Status   // of the leader
	threads []*targetThread // the leader first; none for a zombie

	// Stage collect.
	vmas        []procfs.VMA
	vdsoMap     *procfs.VMA
	vdso        []byte // as it was before the blob lay in its tail
	mem         *os.File
	limits      *procfs.Limits
	sharedQueue []inject.SigInfo
	posixTimers []posixTimer
	personality uint32
	oomScoreAdj int
	loginUID    uint32
	hasLoginUID bool
	auxv        []byte
	ns          map[string]procfs.NSID
	ids         objectIDs
	fdTask      *fds.Task
	exeID       uint32
	cwdID       uint32
	rootID      uint32
	vmaIDs      []uint64 // shmid of each VMA in its image

	// Stages infect and misc.
	session *inject.Session
	answers answers

	killed bool // at the end of the dump

	// Stage pages.
	pagesID   uint32
	guards    []guardRange
	cowParent *target // the parent, if its images hold pages of this process
}

// targetThread is one thread of a target.
type targetThread struct {
	tid    int
	vtid   int
	tracee *inject.Tracee
	gone   bool

	status     procfs.Status
	regs       inject.Regs // as the image gets them
	fpu        []byte
	whole      []byte // what of the registers CRIU's image has no field for, see ExtraThread.XState
	mask       uint64
	queue      []inject.SigInfo
	rseq       inject.Rseq
	rseqCS     uint64
	robust     uint64 // address of the robust list's head
	robustLen  uint64
	sched      unix.SchedAttr
	nice       int // also of a real-time thread, for the day when it is none
	affinity   []uint64
	ioprio     int
	timerSlack uint64 // ns
	filter     int    // index of its newest filter in seccomp.img, -1: none

	// Asked of the thread itself.
	altStack   altStack
	tidAddress uint64
	pdeathSig  uint32
	secureBits uint32
}

// altStack is what sigaltstack(2) tells.
type altStack struct {
	sp, size uint64
	flags    uint32
}

// posixTimer is a timer made by timer_create.
type posixTimer struct {
	procfs.Timer
	value   unix.ItimerSpec
	overrun uint32
}

// guardRange is a range of pages made inaccessible by MADV_GUARD_INSTALL.
type guardRange struct{ start, end uint64 }

func (t *target) dead() bool { return t.state == image.TaskDead }

func (t *target) leader() *targetThread { return t.threads[0] }

// errorf names the process in front of an error, unless it is named already.
func (t *target) errorf(err error) error {
	return prefixed(fmt.Sprintf("pid %d (%s): ", t.pid, t.stat.Comm), err)
}

func (t *target) close() {
	if t.mem != nil {
		_ = t.mem.Close()
		t.mem = nil
	}
	if t.pidfd >= 0 {
		_ = unix.Close(t.pidfd)
		t.pidfd = -1
	}
	if t.proc != nil {
		_ = t.proc.Close()
		t.proc = nil
	}
}
