// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	criu_sa "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-sa"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/siginfo"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

// state gives every process and thread what is neither memory nor descriptors. Limits and credentials come late,
// since they could forbid the rest; timers last, since they run.
func (r *restorer) state() error {
	if err := r.files.SetOwners(); err != nil {
		return err
	}
	if err := r.files.Seal(); err != nil {
		return err
	}
	err := r.pipeline(stage.State, r.leaderState, func(t *task) error {
		for _, step := range []func(*task) error{r.threadStates, r.outside, r.posixTimers, r.queues, r.armTimers} {
			if err := step(t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.hook(ActionPostRestore, r.result.RootPid)
}

// leaderState restores what all threads of a process share, and the state of its leader.
func (r *restorer) leaderState(t *task, c *calls) error {
	if err := r.filesystem(t, c); err != nil {
		return err
	}
	// the last descriptor that is not its own; of processes that share a table one closes it for all
	if first := r.channels[0].Remote; t.numbers.used[first] {
		c.do("", unix.SYS_CLOSE_RANGE, uint64(first), uint64(r.channels[len(r.channels)-1].Remote), 0)
		for _, ch := range r.channels {
			t.numbers.give(ch.Remote)
		}
	}
	if err := r.remotes(t, c); err != nil {
		return err
	}
	const signals, process = 64 * (inject.EntrySize + 32), 64 * (inject.EntrySize + 16)
	if err := c.room(stateRoom(t.threads[0]) + signals + process); err != nil {
		return err
	}
	r.process(t, c)
	extras(t, c)
	if err := r.threadState(t, t.threads[0], c); err != nil {
		return err
	}
	return r.signalActions(t, c)
}

// filesystem restores cwd, root, umask and the link to the program's file.
func (r *restorer) filesystem(t *task, c *calls) error {
	exe, err := r.files.OpenMapped(t.mm.GetExeFileId(), unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("its program: %w", err)
	}
	cwd, err := r.files.OpenMapped(t.fs.GetCwdId(), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("its working directory: %w", err)
	}
	own := []int{exe, cwd}
	path, err := r.files.Path(t.fs.GetRootId())
	if err != nil {
		return fmt.Errorf("its root directory: %w", err)
	}
	chroot := path != "/" || r.opts.Root != "" && r.opts.Root != "/"
	if chroot {
		root, err := r.files.OpenMapped(t.fs.GetRootId(), unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return fmt.Errorf("its root directory: %w", err)
		}
		own = append(own, root)
	}
	got, err := c.pass(own, true)
	if err != nil {
		return err
	}
	describeProgram(t, c, got[0])
	if chroot {
		c.do("changing to its root directory", unix.SYS_FCHDIR, uint64(got[2]))
		c.do("changing its root directory", unix.SYS_CHROOT, c.String("."))
	}
	c.do("changing to its working directory", unix.SYS_FCHDIR, uint64(got[1]))
	c.giveBack(got...)
	if t.fs.Umask != nil {
		c.do("", unix.SYS_UMASK, uint64(t.fs.GetUmask()))
	}
	return nil
}

// process restores what all threads of a process share.
func (r *restorer) process(t *task, c *calls) {
	tc := t.core.Tc
	c.do("personality", unix.SYS_PERSONALITY, uint64(personality(tc.GetPersonality())))
	if tc.GetChildSubreaper() {
		c.do("child subreaper", unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
	}
	if t.mm.GetThpDisabled() {
		c.do("transparent huge pages", unix.SYS_PRCTL, unix.PR_SET_THP_DISABLE, 1)
	}
	for m := tc.GetMembarrierRegistrationMask(); m != 0; m &= m - 1 {
		c.do("membarrier", unix.SYS_MEMBARRIER, 1<<bits.TrailingZeros32(m))
	}
	for i, e := range tc.GetRlimits().GetRlimits() {
		var lim [16]byte
		binary.LittleEndian.PutUint64(lim[0:], e.GetCur())
		binary.LittleEndian.PutUint64(lim[8:], e.GetMax())
		c.do(fmt.Sprintf("resource limit %d (%d/%d)", i, e.GetCur(), e.GetMax()), unix.SYS_PRLIMIT64, 0, uint64(i), c.Data(lim[:]), 0)
	}
}

// outside restores what is set by writing to /proc or by calls that take an id.
func (r *restorer) outside(t *task) error {
	if v := t.core.Tc.OomScoreAdj; v != nil {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", t.pid), []byte(strconv.Itoa(int(*v))), 0); err != nil {
			return fmt.Errorf("oom_score_adj %d: %w", *v, err)
		}
	}
	if x := t.extra; x != nil && x.CoredumpFilter != nil {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/coredump_filter", t.pid), []byte("0x"+strconv.FormatUint(uint64(*x.CoredumpFilter), 16)), 0); err != nil {
			return fmt.Errorf("coredump_filter: %w", err)
		}
	}
	for _, th := range t.threads {
		if err := r.schedule(t, th); err != nil {
			return fmt.Errorf("thread %d: %w", th.tid, err)
		}
	}
	return nil
}

func (r *restorer) schedule(t *task, th *thread) error {
	tc := th.core.ThreadCore
	x := t.extra.thread(th.tid)
	if x != nil && len(x.Affinity) > 0 {
		var set unix.CPUSet
		for i, w := range x.Affinity {
			for ; w != 0; w &= w - 1 {
				set.Set(64*i + bits.TrailingZeros64(w))
			}
		}
		if err := unix.SchedSetaffinity(th.t.Tid, &set); err != nil {
			r.log.Warn("CPU affinity not restored: none of its CPUs is here", "task", t.String(), "tid", th.tid, "err", err)
		}
	}
	attr := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: tc.GetSchedPolicy(), Nice: tc.GetSchedNice(), Priority: tc.GetSchedPrio(),
	}
	if x != nil {
		attr.Flags = x.SchedFlags
		if len(x.SchedRT) == 3 {
			attr.Runtime, attr.Deadline, attr.Period = x.SchedRT[0], x.SchedRT[1], x.SchedRT[2]
		}
	}
	if err := unix.SchedSetAttr(th.t.Tid, &attr, 0); err != nil {
		return fmt.Errorf("scheduling policy %d, nice %d, priority %d: %w", attr.Policy, attr.Nice, attr.Priority, err)
	}
	// sched_setattr ignores the nice value of a real-time policy, which counts again when the policy changes
	if err := unix.Setpriority(unix.PRIO_PROCESS, th.t.Tid, int(tc.GetSchedNice())); err != nil {
		return fmt.Errorf("nice %d: %w", tc.GetSchedNice(), err)
	}
	if x != nil && x.IOPriority != 0 {
		if _, _, e := unix.RawSyscall(unix.SYS_IOPRIO_SET, 1, uintptr(th.t.Tid), uintptr(x.IOPriority)); e != 0 {
			return fmt.Errorf("I/O priority %#x: %w", x.IOPriority, e)
		}
	}
	return nil
}

// threadStates restores the state of the other threads, from inside each; those that have room beside each other in the
// scratch area at the same time.
func (r *restorer) threadStates(t *task) error {
	for wave := range slices.Chunk(t.threads[1:], t.threadsAtOnce()) {
		batches := make([]*calls, len(wave))
		for i, th := range wave {
			batches[i] = newCalls(th.s)
			err := r.threadState(t, th, batches[i])
			if err == nil {
				err = batches[i].begin()
			}
			if err != nil {
				return fmt.Errorf("thread %d: %w", th.tid, err)
			}
		}
		for i, th := range wave {
			if err := batches[i].end(); err != nil {
				return fmt.Errorf("thread %d: %w", th.tid, err)
			}
		}
	}
	return nil
}

func (r *restorer) threadState(t *task, th *thread, c *calls) error {
	leader := th == t.threads[0]
	tc := th.core.ThreadCore
	name := tc.GetComm()
	if leader || name == "" {
		name = t.comm()
	}
	c.do("name", unix.SYS_PRCTL, unix.PR_SET_NAME, c.String(name))
	if leader {
		nr, arg := setClearTid(th.core)
		c.do("clear_child_tid", nr, arg)
	}
	if s := tc.GetSas(); s != nil && s.GetSsSize() > 0 {
		var ss [24]byte
		binary.LittleEndian.PutUint64(ss[0:], s.GetSsSp())
		// SS_ONSTACK is not set but follows from the stack pointer
		binary.LittleEndian.PutUint32(ss[8:], s.GetSsFlags()&^1)
		binary.LittleEndian.PutUint64(ss[16:], s.GetSsSize())
		if s.GetSsFlags()&2 == 0 { // SS_DISABLE
			c.do("alternate signal stack", unix.SYS_SIGALTSTACK, c.Data(ss[:]), 0)
		}
	}
	if tc.GetFutexRla() != 0 {
		c.do("robust futex list", unix.SYS_SET_ROBUST_LIST, tc.GetFutexRla(), uint64(tc.GetFutexRlaLen()))
	}
	if q := tc.GetRseqEntry(); q.GetRseqAbiPointer() != 0 {
		c.do("restartable sequences", unix.SYS_RSEQ, q.GetRseqAbiPointer(), uint64(q.GetRseqAbiSize()), 0, uint64(q.GetSignature()))
	}
	if x := t.extra.thread(th.tid); x != nil && x.TimerSlack != 0 {
		c.do("timer slack", unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, x.TimerSlack)
	}
	if err := r.seccompFilters(t, th, c); err != nil {
		return err
	}
	credentials(c, tc.GetCreds())
	if leader && t.mm.Dumpable != nil && *t.mm.Dumpable < 2 {
		c.do("dumpable", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, uint64(*t.mm.Dumpable))
	}
	if tc.GetPdeathSig() != 0 {
		c.do("parent death signal", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uint64(tc.GetPdeathSig()))
	}
	return nil
}

// seccompFilters adds a thread's filters, the oldest first; PTRACE_O_SUSPEND_SECCOMP keeps them from the calls that follow.
func (r *restorer) seccompFilters(t *task, th *thread, c *calls) error {
	tc := th.core.ThreadCore
	mode := criu_core.SeccompMode_disabled
	if tc.SeccompMode != nil {
		mode = tc.GetSeccompMode()
	} else if t.core.Tc.OldSeccompMode != nil {
		mode = t.core.Tc.GetOldSeccompMode()
	}
	switch mode {
	case criu_core.SeccompMode_strict:
		c.do("strict seccomp", unix.SYS_PRCTL, unix.PR_SET_SECCOMP, 1, 0)
	case criu_core.SeccompMode_filter:
		last := tc.SeccompFilter
		if last == nil {
			last = t.core.Tc.OldSeccompFilter
		}
		if last == nil {
			return fmt.Errorf("its seccomp filter is not in the images: %w", ErrImage)
		}
		var chain []uint32
		size := 0
		for id := last; id != nil; {
			if int(*id) >= len(t.seccomp) || len(chain) > len(t.seccomp) {
				return fmt.Errorf("seccomp filter %d: %w", *id, ErrImage)
			}
			chain = append(chain, *id)
			if size += len(t.seccomp[*id].Filter); size > maxFilters {
				return fmt.Errorf("its seccomp filters have more than %d bytes: %w", maxFilters, ErrImage)
			}
			id = t.seccomp[*id].Prev
		}
		if tc.GetCreds().GetNoNewPrivs() != 0 {
			c.do("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		}
		for i := len(chain) - 1; i >= 0; i-- {
			f := t.seccomp[chain[i]]
			if len(f.Filter)%8 != 0 || len(f.Filter) == 0 || len(f.Filter)/8 > 4096 {
				return fmt.Errorf("seccomp filter %d has %d bytes: %w", chain[i], len(f.Filter), ErrImage)
			}
			var prog [16]byte
			binary.LittleEndian.PutUint16(prog[0:], uint16(len(f.Filter)/8))
			binary.LittleEndian.PutUint64(prog[8:], c.Data(f.Filter))
			// flags of listeners and of synchronisation mean nothing for a filter that is there already
			c.do("seccomp filter", unix.SYS_SECCOMP, 1, uint64(f.GetFlags())&(1<<1|1<<2), c.Data(prog[:]))
		}
	}
	return nil
}

// maxFilters bounds the seccomp filters of a thread, in bytes. The kernel's own limit is MAX_INSNS_PER_PATH, 32768 instructions of
// 8 bytes.
const maxFilters = 32768 * 8

const (
	secbitNoSetuidFixup = 1 << 2
	capAmbient          = 47 // PR_CAP_AMBIENT
	linuxCapVersion3    = 0x20080522
)

// credentials adds the calls that give a thread its ids and capabilities, in the order in which each still may.
func credentials(c *calls, e *creds.CredsEntry) {
	if e == nil {
		return
	}
	var groups []byte
	for _, g := range e.Groups {
		groups = binary.LittleEndian.AppendUint32(groups, g)
	}
	at := uint64(0)
	if len(groups) > 0 {
		at = c.Data(groups)
	}
	c.do("supplementary groups", unix.SYS_SETGROUPS, uint64(len(e.Groups)), at)
	c.do("securebits", unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, secbitNoSetuidFixup)
	c.do("gids", unix.SYS_SETRESGID, uint64(e.GetGid()), uint64(e.GetEgid()), uint64(e.GetSgid()))
	c.do("", unix.SYS_SETFSGID, uint64(e.GetFsgid()))
	c.do("uids", unix.SYS_SETRESUID, uint64(e.GetUid()), uint64(e.GetEuid()), uint64(e.GetSuid()))
	c.do("", unix.SYS_SETFSUID, uint64(e.GetFsuid()))
	word := func(v []uint32, i int) uint32 {
		if i < len(v) {
			return v[i]
		}
		return 0
	}
	for i := 0; i < 64; i++ {
		if word(e.CapBnd, i/32)>>(i%32)&1 == 0 {
			// numbers beyond this kernel's last are EINVAL
			c.do("", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uint64(i))
		}
	}
	c.do("securebits", unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uint64(e.GetSecbits()))
	var hdr [8]byte
	binary.LittleEndian.PutUint32(hdr[:], linuxCapVersion3)
	var data []byte
	for i := 0; i < 2; i++ {
		for _, v := range [][]uint32{e.CapEff, e.CapPrm, e.CapInh} {
			data = binary.LittleEndian.AppendUint32(data, word(v, i))
		}
	}
	c.do("capabilities", unix.SYS_CAPSET, c.Data(hdr[:]), c.Data(data))
	for i := 0; i < 64; i++ {
		if word(e.CapAmb, i/32)>>(i%32)&1 != 0 {
			c.do("ambient capability", unix.SYS_PRCTL, capAmbient, 2, uint64(i), 0, 0)
		}
	}
	if e.GetNoNewPrivs() != 0 {
		c.do("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
}

// signalActions restores what the process does on each signal. SIGCHLD of helpers and zombies that came meanwhile is
// forgotten by setting its default action first.
func (r *restorer) signalActions(t *task, c *calls) error {
	var none [32]byte
	dfl := c.Data(none[:])
	c.do("", unix.SYS_RT_SIGACTION, uint64(unix.SIGCHLD), dfl, 0, 8)
	sas := t.core.Tc.Sigactions
	if len(sas) == 0 {
		var err error
		if sas, err = r.oldSigactions(t); err != nil {
			return err
		}
	}
	sig := 0
	for _, a := range sas {
		sig++
		for sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) {
			sig++
		}
		if sig > 64 {
			return fmt.Errorf("%d signal actions: %w", len(sas), ErrImage)
		}
		if a.GetSigaction() == 0 && a.GetFlags() == 0 && a.GetMask() == 0 {
			continue
		}
		k := sigAction{handler: a.GetSigaction(), flags: a.GetFlags(), restorer: a.GetRestorer(), mask: a.GetMask()}
		c.doAt("setting the action of the signal", uint64(sig), unix.SYS_RT_SIGACTION, uint64(sig), c.Data(k.bytes()), 0, 8)
	}
	return nil
}

// oldSigactions reads sigacts-PID.img, which images of CRIU before 3.5 have.
func (r *restorer) oldSigactions(t *task) ([]*criu_sa.SaEntry, error) {
	var out []*criu_sa.SaEntry
	err := eachOptional(r.images, fmt.Sprintf("sigacts-%d.img", t.pid), func(e *criu_sa.SaEntry) { out = append(out, e) })
	return out, err
}

// queues puts pending signals back, each sent by the task to itself: nobody else may send what came from the kernel. From here
// on all signals are blocked, so the calls are made one by one: a batch would end by a signal, which could be one of these.
func (r *restorer) queues(t *task) error {
	for i, th := range t.threads {
		var shared []*siginfo.SiginfoEntry
		if i == 0 {
			shared = t.core.Tc.GetSignalsS().GetSignals()
		}
		own := th.core.ThreadCore.GetSignalsP().GetSignals()
		if len(shared)+len(own) == 0 {
			continue
		}
		if err := th.s.T.SetSigMask(^uint64(0)); err != nil {
			return err
		}
		for _, s := range shared {
			if err := queue(th.s, s.GetSiginfo(), unix.SYS_RT_SIGQUEUEINFO, uint64(t.pid)); err != nil {
				return err
			}
		}
		for _, s := range own {
			if err := queue(th.s, s.GetSiginfo(), unix.SYS_RT_TGSIGQUEUEINFO, uint64(t.pid), uint64(th.tid)); err != nil {
				return fmt.Errorf("thread %d: %w", th.tid, err)
			}
		}
	}
	return nil
}

func queue(s *inject.Session, info []byte, nr uintptr, to ...uint64) error {
	if len(info) != inject.SigInfoSize {
		return fmt.Errorf("a pending signal of %d bytes: %w", len(info), ErrImage)
	}
	sig := binary.LittleEndian.Uint32(info)
	if sig == 0 || sig > 64 {
		return fmt.Errorf("pending signal %d: %w", sig, ErrImage)
	}
	if err := s.WriteMem(s.Area, info); err != nil {
		return err
	}
	if _, err := s.Call(nr, append(to, uint64(sig), s.Area)...); err != nil {
		return fmt.Errorf("pending signal %d: %w", sig, err)
	}
	return nil
}
