// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// answers are what only the process itself can be asked.
type answers struct {
	actions        [numSignals]sigAction // index: signal - 1; SIGKILL and SIGSTOP stay empty
	itimers        [3]unix.Itimerval     // ITIMER_REAL, _VIRTUAL, _PROF
	dumpable       int32
	childSubreaper bool
	thpDisabled    bool
	thpFlags       uint64 // PR_GET_THP_DISABLE's whole answer
	brk            uint64
	membarrier     uint32 // registrations as MEMBARRIER_CMD_* bits
	mdwe           uint64 // PR_GET_MDWE
	timerSlack     uint64 // ns, of the leader
	ksm            bool   // PR_GET_MEMORY_MERGE
	ioFlusher      bool
	tsc            uint32 // PR_GET_TSC
	machineCheck   uint32 // PR_MCE_KILL_GET; 0: the default
	lockFuture     int    // MCL_FUTURE, MCL_ONFAULT
	xcomp          uint64 // ARCH_GET_XCOMP_PERM: dynamic components only
}

// sigAction is what the kernel's struct sigaction holds; its layout differs (parseSigAction, sigAction.bytes).
type sigAction struct{ handler, flags, restorer, mask uint64 }

const (
	numSignals     = 64
	itimervalSize  = 32
	itimerspecSize = 32
	altStackSize   = 24
)

// misc asks each process some 80 questions in one batch. While one answers the batch of the next is built.
func (d *dumper) misc() error {
	type asking struct {
		t      *target
		span   stage.Span
		before int64
		in     inquiry
	}
	var all []*asking
	var first error
	for _, t := range d.tasks {
		if t.dead() {
			continue
		}
		a := &asking{t: t, span: d.tl.Begin(stage.Misc, t.pid), before: t.session.Calls}
		a.in = inquiry{s: t.session, qs: t.questions()}
		if err := a.in.begin(); err != nil {
			a.span.End()
			first = t.errorf(err)
			break
		}
		all = append(all, a)
	}
	// after an error too: who has begun must get to the end
	for _, a := range all {
		err := a.in.end()
		if err == nil {
			err = a.t.lookAgain()
		}
		if err == nil {
			err = a.t.askLocks()
		}
		if err != nil && first == nil {
			first = a.t.errorf(err)
		}
		a.span.Add(stage.Counts{Calls: a.t.session.Calls - a.before})
		a.span.End()
	}
	return first
}

// question is one entry of a batch and what to do with its answer.
type question struct {
	what string
	of   int // a number for what
	nr   uintptr
	args [6]uint64
	size int // bytes of memory for the answer, at argument mem
	mem  int
	take func(result uint64, mem []byte)
	// may says which errors mean that there is no answer, as on a kernel that does not know the question.
	may func(error) bool
}

func ignoreAll(error) bool { return true }

func (t *target) questions() []question {
	a, th := &t.answers, t.leader()
	le := binary.NativeEndian
	qs := make([]question, 0, 96)
	for sig := 1; sig <= numSignals; sig++ {
		if sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) {
			continue
		}
		act := &a.actions[sig-1]
		qs = append(qs, question{
			what: "action of signal", of: sig,
			nr: unix.SYS_RT_SIGACTION, args: [6]uint64{uint64(sig), 0, 0, numSignals / 8}, size: sigActionSize, mem: 2,
			take: func(_ uint64, m []byte) { *act = parseSigAction(m) },
		})
	}
	for i := range a.itimers {
		it := &a.itimers[i]
		qs = append(qs, question{
			what: "interval timer", nr: unix.SYS_GETITIMER, args: [6]uint64{uint64(i)}, size: itimervalSize, mem: 1,
			take: func(_ uint64, m []byte) {
				it.Interval.Sec, it.Interval.Usec = int64(le.Uint64(m[0:])), int64(le.Uint64(m[8:]))
				it.Value.Sec, it.Value.Usec = int64(le.Uint64(m[16:])), int64(le.Uint64(m[24:]))
			},
		})
	}
	for i := range t.posixTimers {
		tm := &t.posixTimers[i]
		qs = append(qs,
			question{
				what: "POSIX timer", of: tm.ID, nr: unix.SYS_TIMER_GETTIME, args: [6]uint64{uint64(tm.ID)}, size: itimerspecSize, mem: 1,
				take: func(_ uint64, m []byte) {
					tm.value.Interval.Sec, tm.value.Interval.Nsec = int64(le.Uint64(m[0:])), int64(le.Uint64(m[8:]))
					tm.value.Value.Sec, tm.value.Value.Nsec = int64(le.Uint64(m[16:])), int64(le.Uint64(m[24:]))
				},
			},
			question{
				what: "overruns of POSIX timer", of: tm.ID, nr: unix.SYS_TIMER_GETOVERRUN, args: [6]uint64{uint64(tm.ID)},
				take: func(v uint64, _ []byte) { tm.overrun = uint32(v) },
			})
	}
	qs = append(qs, threadQuestions(th)...)
	prctl := func(what string, option uint64, take func(uint64)) {
		qs = append(qs, question{what: what, nr: unix.SYS_PRCTL, args: [6]uint64{option}, take: func(v uint64, _ []byte) { take(v) }, may: ignoreAll})
	}
	prctl("dumpable", unix.PR_GET_DUMPABLE, func(v uint64) { a.dumpable = int32(v) })
	prctl("THP setting", unix.PR_GET_THP_DISABLE, func(v uint64) { a.thpDisabled, a.thpFlags = v != 0, v })
	prctl("memory-deny-write-execute", unix.PR_GET_MDWE, func(v uint64) { a.mdwe = v })
	prctl("timer slack", unix.PR_GET_TIMERSLACK, func(v uint64) { a.timerSlack = v })
	prctl("KSM", unix.PR_GET_MEMORY_MERGE, func(v uint64) { a.ksm = v == 1 })
	prctl("I/O flusher", unix.PR_GET_IO_FLUSHER, func(v uint64) { a.ioFlusher = v == 1 })
	prctl("machine check policy", unix.PR_MCE_KILL_GET, func(v uint64) {
		if v != unix.PR_MCE_KILL_DEFAULT {
			a.machineCheck = uint32(v)
		}
	})
	qs = append(qs, archQuestions(a)...)
	qs = append(qs,
		question{
			what: "child subreaper", nr: unix.SYS_PRCTL, args: [6]uint64{unix.PR_GET_CHILD_SUBREAPER}, size: 4, mem: 1,
			take: func(_ uint64, m []byte) { a.childSubreaper = le.Uint32(m) != 0 },
		},
		question{
			what: "TSC access", nr: unix.SYS_PRCTL, args: [6]uint64{unix.PR_GET_TSC}, size: 4, mem: 1, may: ignoreAll,
			take: func(_ uint64, m []byte) { a.tsc = le.Uint32(m) },
		},
		question{what: "brk", nr: unix.SYS_BRK, take: func(v uint64, _ []byte) { a.brk = v }},
		question{
			what: "membarrier registrations", nr: unix.SYS_MEMBARRIER, args: [6]uint64{membarrierGetRegistrations}, may: ignoreAll,
			take: func(v uint64, _ []byte) { a.membarrier = uint32(v) },
		})
	return qs
}

// askLocks finds out whether new maps are locked (mlockall with MCL_FUTURE), which no interface tells: our own scratch
// area is such a map.
func (t *target) askLocks() error {
	if t.status.VmLck == 0 {
		return nil
	}
	vmas, err := t.proc.Smaps(nil)
	if err != nil {
		return fmt.Errorf("looking for MCL_FUTURE: %w", err)
	}
	for i := range vmas {
		if v := &vmas[i]; v.Start == t.session.Area {
			if v.Flags&procfs.VMLocked != 0 {
				t.answers.lockFuture = unix.MCL_FUTURE
			}
			if v.Flags&procfs.VMLockOnFault != 0 {
				t.answers.lockFuture |= unix.MCL_ONFAULT
			}
		}
	}
	return nil
}

// membarrierGetRegistrations is MEMBARRIER_CMD_GET_REGISTRATIONS of linux/membarrier.h, since 6.3.
const membarrierGetRegistrations = 1 << 9

// threadQuestions are those that every thread must answer for itself.
func threadQuestions(th *targetThread) []question {
	le := binary.NativeEndian
	return []question{
		{
			what: "alternate stack", nr: unix.SYS_SIGALTSTACK, size: altStackSize, mem: 1,
			take: func(_ uint64, m []byte) {
				th.altStack = altStack{sp: le.Uint64(m[0:]), flags: le.Uint32(m[8:]), size: le.Uint64(m[16:])}
			},
		},
		{
			what: "tid address", nr: unix.SYS_PRCTL, args: [6]uint64{unix.PR_GET_TID_ADDRESS}, size: 8, mem: 1,
			take: func(_ uint64, m []byte) { th.tidAddress = le.Uint64(m) },
		},
		{
			what: "parent-death signal", nr: unix.SYS_PRCTL, args: [6]uint64{unix.PR_GET_PDEATHSIG}, size: 4, mem: 1,
			take: func(_ uint64, m []byte) { th.pdeathSig = le.Uint32(m) },
		},
		{
			what: "securebits", nr: unix.SYS_PRCTL, args: [6]uint64{unix.PR_GET_SECUREBITS},
			take: func(v uint64, _ []byte) { th.secureBits = uint32(v) },
		},
	}
}

// inquiry asks questions, in as many batches as it takes; the process is at the first between begin and end.
type inquiry struct {
	s   *inject.Session
	qs  []question
	b   *inject.Batch
	n   int           // how many questions are in the batch
	at  []inject.Addr // of the answers
	low inject.Addr   // the lowest of them
}

func (in *inquiry) begin() error {
	in.b, in.n, in.at, in.low = in.s.NewBatch(), 0, in.at[:0], ^uint64(0)
	for i := range in.qs {
		q := &in.qs[i]
		if in.b.Room() < inject.EntrySize+q.size+64 {
			break
		}
		var addr inject.Addr
		if q.size > 0 {
			addr = in.b.Space(q.size)
			in.low = min(in.low, addr)
			q.args[q.mem] = addr
		}
		in.at = append(in.at, addr)
		in.b.Call(q.nr, q.args[:]...)
		in.n++
	}
	if in.n == 0 {
		return inject.ErrAreaFull
	}
	return in.s.Begin(in.b)
}

func (in *inquiry) end() error {
	for {
		if err := in.s.End(in.b); err != nil {
			return err
		}
		if err := in.take(); err != nil {
			return err
		}
		if in.qs = in.qs[in.n:]; len(in.qs) == 0 {
			return nil
		}
		if err := in.begin(); err != nil {
			return err
		}
	}
}

// take hands the answers out.
func (in *inquiry) take() error {
	// All answers lie together at the end of the area: one read.
	var mem []byte
	if in.low != ^uint64(0) {
		mem = make([]byte, in.s.Area+in.s.AreaSize-in.low)
		if err := in.s.ReadMem(in.low, mem); err != nil {
			return err
		}
	}
	for i := range in.qs[:in.n] {
		q := &in.qs[i]
		v, err := in.b.Result(i)
		if err != nil {
			if q.may != nil && q.may(err) {
				continue
			}
			if q.of != 0 {
				return fmt.Errorf("%s %d: %w", q.what, q.of, err)
			}
			return fmt.Errorf("%s: %w", q.what, err)
		}
		var m []byte
		if q.size > 0 {
			m = mem[in.at[i]-in.low:][:q.size]
		}
		q.take(v, m)
	}
	return nil
}
