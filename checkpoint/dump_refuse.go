// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/procfs"
)

// refuseOptions names options whose feature does not exist yet.
func (d *dumper) refuseOptions() error {
	switch {
	case d.opts.TCPEstablished:
		return refuse("--tcp-established: carrying TCP connections over is not there yet; --tcp-close records them as closed")
	case d.opts.TrackMem, d.opts.PrevImagesDir != "":
		return refuse("--track-mem and --prev-images-dir: incremental dumps are not there yet; dump without them")
	}
	if err := checkWorkDir(d.opts.WorkDir); err != nil {
		return err
	}
	if _, err := cpuNeed(d.opts.CPUCap); err != nil {
		return err
	}
	if err := refuseExternal(d.opts.External); err != nil {
		return err
	}
	switch d.opts.ManageCgroups {
	case "", "none", "ignore":
	default:
		return refuse("--manage-cgroups=%s: cgroups are not carried yet; only ignore is possible", d.opts.ManageCgroups)
	}
	return nil
}

// checkWorkDir makes sure that there is such a directory, if one is given: what is to be written there comes last.
func checkWorkDir(dir string) error {
	if dir == "" {
		return nil
	}
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = &os.PathError{Op: "stat", Path: dir, Err: unix.ENOTDIR}
	}
	if err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	return nil
}

// refuseExternal refuses what --external names, except unix sockets.
func refuseExternal(list []string) error {
	for _, e := range list {
		if !strings.HasPrefix(e, "unix[") {
			return refuse("--external %s: only unix[INODE] is possible yet", e)
		}
	}
	return nil
}

// precheck refuses what can be told from the root task alone, before anything is stopped or written.
func (d *dumper) precheck(pid int) error {
	if err := refuseAncestor(pid); err != nil {
		return err
	}
	t, err := openTask(pid)
	if err != nil {
		return err
	}
	if t.stat.Flags&procfs.PFKthread != 0 {
		defer t.close()
		return t.errorf(refuse("is a kernel thread, which can't be dumped"))
	}
	if err := t.proc.ReadStatus(&t.status); err != nil {
		t.close()
		return err
	}
	if t.status.Tgid != pid {
		t.close()
		return fmt.Errorf("%d is a thread of process %d; dump that", pid, t.status.Tgid)
	}
	// As CRIU: only the root can be in a session that somebody else leads without the leader being below it.
	if t.stat.Session != pid && !d.opts.ShellJob {
		defer t.close()
		return t.errorf(refuse("does not lead its session (%d does), which stays behind; dump and restore with --shell-job: it gets session and process group of who restores it",
			t.stat.Session))
	}
	d.root = t
	return nil
}

// refuseAncestor refuses a tree that this process is part of: it would stop itself.
func refuseAncestor(pid int) error {
	for at := os.Getpid(); at > 0; {
		if at == pid {
			return fmt.Errorf("pid %d: this program itself (pid %d) is in the tree to be dumped; run it from outside of the tree (setsid does not suffice, it keeps its parent)",
				pid, os.Getpid())
		}
		p, err := procfs.Open(at)
		if errors.Is(err, procfs.ErrGone) {
			return nil // an ancestor that has ended meanwhile: its children are not in the tree any more
		}
		if err != nil {
			return err
		}
		var st procfs.Stat
		err = p.ReadStat(&st)
		_ = p.Close()
		if errors.Is(err, procfs.ErrGone) {
			return nil
		}
		if err != nil {
			return err
		}
		at = st.PPid
	}
	return nil
}

// refuseTask refuses a process for what it is.
func (d *dumper) refuseTask(t *target) error {
	for _, th := range t.threads {
		if err := regsSupported(&th.regs); err != nil {
			return fmt.Errorf("thread %d: %w", th.tid, err)
		}
		if th.status.X86ShadowStack {
			return refuse("thread %d uses a shadow stack (CET), which is not carried yet; run it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off", th.tid)
		}
		if th == t.leader() {
			continue
		}
		for _, k := range []struct {
			kind uintptr
			name string
		}{{kcmpFiles, "descriptors"}, {kcmpFS, "working directory"}} {
			same, err := kcmp(t.pid, th.tid, k.kind)
			if err != nil {
				return fmt.Errorf("thread %d: kcmp: %w", th.tid, err)
			}
			if same != 0 {
				return refuse("thread %d has its own %s (unshare), which images can't hold", th.tid, k.name)
			}
		}
	}
	own, err := d.ownNamespaces()
	if err != nil {
		return err
	}
	for name, id := range t.ns {
		if own[name] != id {
			return refuse("is in another %s namespace than the engine; run the dump inside of it (nsenter), namespaces are not carried yet", name)
		}
	}
	if len(t.posixTimers) > 0 {
		for _, tm := range t.posixTimers {
			// A negative number is ^pid << 3 | type (linux/posix-timers.h), pid 0 being the process itself; a thread that
			// names its own clock gets the process' first thread's after a restore.
			if tm.ClockID < 0 && ^(tm.ClockID>>3) != 0 {
				return refuse("POSIX timer %d runs on the clock %d, of another process, a thread or a device, which can't be named in an image", tm.ID, tm.ClockID)
			}
		}
	}
	return nil
}

func (d *dumper) ownNamespaces() (map[string]procfs.NSID, error) {
	if d.ownNS == nil {
		self, err := procfs.Open(os.Getpid())
		if err != nil {
			return nil, err
		}
		defer self.Close()
		if d.ownNS, err = self.NS(); err != nil {
			return nil, err
		}
	}
	return d.ownNS, nil
}

// refuseMaps refuses mappings that can't be carried.
func (d *dumper) refuseMaps(t *target) error {
	shmem, err := procfs.ShmemDev()
	if err != nil {
		return err
	}
	for i := range t.vmas {
		v := &t.vmas[i]
		refuse := func(what, hint string) error {
			return refuse("mapping %x-%x is %s; %s", v.Start, v.End, what, hint)
		}
		switch v.Kind {
		case procfs.KindVDSO, procfs.KindVVar, procfs.KindVVarVClock, procfs.KindVSyscall:
			continue
		case procfs.KindUprobes:
			return refuse("the kernel's page of uprobes", "detach the tracer (perf, bpftrace, trapline trace) first, its breakpoints are in the program's pages")
		case procfs.KindAIO:
			return refuse("the ring of io_setup(2)", "let the program destroy its AIO context before the dump")
		case procfs.KindSocket:
			return refuse("the ring of a packet socket ("+v.Path+")", "let the program close it before the dump")
		case procfs.KindAnonInode:
			return refuse("of "+v.Path, "let the program close it before the dump")
		case procfs.KindSpecial:
			return refuse("the kernel's "+v.Path, "this kind of mapping is not known")
		case procfs.KindAnonHuge:
			if v.Shared {
				return refuse("shared memory of huge pages", "it is not carried yet; private huge pages are")
			}
		case procfs.KindAnonShmem, procfs.KindMemfd:
			if v.Dev != shmem && v.Flags&procfs.VMHugeTLB != 0 && v.Shared {
				return refuse("shared memory of huge pages", "it is not carried yet; private huge pages are")
			}
		}
		switch {
		case v.Flags&procfs.VMShadowStack != 0:
			return refuse("a shadow stack (CET)", "run the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off")
		case v.Flags&(procfs.VMIO|procfs.VMPFNMap) != 0:
			return refuse("of a device ("+v.Path+")", "let the program unmap it before the dump")
		case v.Flags&(procfs.VMUffdMissing|procfs.VMUffdWP|procfs.VMUffdMinor) != 0:
			return refuse("watched by a userfaultfd", "let the program unregister it before the dump")
		}
	}
	return nil
}

// Kinds of kcmp(2), linux/kcmp.h.
const (
	kcmpVM      = 1
	kcmpFiles   = 2
	kcmpFS      = 3
	kcmpSighand = 4
)

// kcmp compares a kernel object of two tasks: 0 if they share it, else an order that is stable while both exist.
func kcmp(a, b int, kind uintptr) (int, error) {
	r, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kind, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}
