// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/procfs"
)

// askThreads asks ptrace about each thread.
func (d *dumper) askThreads(t *target) error {
	for _, th := range t.threads {
		if err := d.askThread(t, th); err != nil {
			return fmt.Errorf("thread %d: %w", th.tid, err)
		}
	}
	var err error
	t.sharedQueue, err = t.leader().tracee.Pending(true)
	return err
}

// readThreads reads the files and attributes of each thread that need no ptrace.
func (t *target) readThreads() error {
	var mask [128]uint64
	for _, th := range t.threads {
		p := t.proc
		if th.tid != t.pid {
			p = t.proc.Task(th.tid)
		}
		if err := p.ReadStatus(&th.status); err != nil {
			return err
		}
		th.vtid = last(th.status.NSpid, th.tid)
		attr, err := unix.SchedGetAttr(th.tid, 0)
		if err != nil {
			return fmt.Errorf("thread %d: sched_getattr: %w", th.tid, err)
		}
		th.sched = *attr
		// sched_getattr has no nice value of real-time threads. The system call gives 20 minus it.
		nice, err := unix.Getpriority(unix.PRIO_PROCESS, th.tid)
		if err != nil {
			return fmt.Errorf("thread %d: getpriority: %w", th.tid, err)
		}
		th.nice = 20 - nice
		n, _, errno := unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, uintptr(th.tid), unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
		if errno != 0 {
			return fmt.Errorf("thread %d: sched_getaffinity: %w", th.tid, errno)
		}
		th.affinity = append(th.affinity, mask[:n/8]...)
		const whoProcess = 1 // IOPRIO_WHO_PROCESS
		prio, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_GET, whoProcess, uintptr(th.tid), 0)
		if errno != 0 {
			return fmt.Errorf("thread %d: ioprio_get: %w", th.tid, errno)
		}
		th.ioprio = int(prio)
		if th.robust, th.robustLen, err = getRobustList(th.tid); err != nil {
			return fmt.Errorf("thread %d: %w", th.tid, err)
		}
		switch th.timerSlack, err = p.TimerSlack(); {
		case errors.Is(err, procfs.ErrGone), err == nil:
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOENT):
			th.timerSlack = 0 // not to be had: the default is restored
		default:
			return err
		}
	}
	return nil
}

// fpuSize is the buffer for the extended registers: XSAVE has no fixed size, AMX alone takes 8 KiB.
const fpuSize = 64 << 10

// askThread asks ptrace.
func (d *dumper) askThread(t *target, th *targetThread) error {
	err := th.tracee.Settle(d.deadline)
	if err != nil {
		return err
	}
	if th.regs, err = th.tracee.Regs(); err != nil {
		return err
	}
	if d.fpuBuf == nil {
		d.fpuBuf = make([]byte, fpuSize)
	}
	n, err := th.tracee.RegSet(fpuRegSet, d.fpuBuf)
	if err != nil {
		return err
	}
	if n == len(d.fpuBuf) {
		return refuse("its extended registers take more than %d bytes, for which images have no room; run the program without what uses them (AMX, AVX-512)", n)
	}
	th.fpu = append(th.fpu, d.fpuBuf[:n]...)
	if th.whole, err = wholeRegs(th); err != nil {
		return err
	}
	if th.mask, err = th.tracee.SigMask(); err != nil {
		return err
	}
	if th.queue, err = th.tracee.Pending(false); err != nil {
		return err
	}
	switch th.rseq, err = th.tracee.Rseq(); {
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EINVAL):
		th.rseq = inject.Rseq{} // a kernel before 5.13, or without rseq
	case err != nil:
		return err
	}
	return nil
}

// rseqCS reads which critical section a thread is in (struct rseq_cs, linux/rseq.h) and moves the registers that go
// into the image to the section's abort handler, as the kernel does to a thread that it preempts.
func (t *target) leaveRseq(th *targetThread) error {
	const (
		csOffset = 8 // rseq_cs in struct rseq
		csSize   = 32
	)
	if th.rseq.Ptr == 0 {
		return nil
	}
	var w [csSize]byte
	if _, err := t.mem.ReadAt(w[:8], int64(th.rseq.Ptr+csOffset)); err != nil {
		return fmt.Errorf("thread %d: reading its rseq area at %#x: %w", th.tid, th.rseq.Ptr, err)
	}
	cs := binary.NativeEndian.Uint64(w[:8])
	if cs == 0 {
		return nil
	}
	if _, err := t.mem.ReadAt(w[:], int64(cs)); err != nil {
		return fmt.Errorf("thread %d: reading its rseq section at %#x: %w", th.tid, cs, err)
	}
	start, length, abort := binary.NativeEndian.Uint64(w[8:]), binary.NativeEndian.Uint64(w[16:]), binary.NativeEndian.Uint64(w[24:])
	if pc := regsPC(&th.regs); pc-start < length {
		th.rseqCS = cs
		setRegsPC(&th.regs, abort)
	}
	return nil
}
