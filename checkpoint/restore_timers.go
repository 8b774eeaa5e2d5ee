// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/timer"
	"golang.org/x/sys/unix"
)

// prTimerCreateRestoreIDs is PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15.
const prTimerCreateRestoreIDs = 77

// maxTimerTries bounds how many timers are made and deleted until one gets its id on older kernels.
const maxTimerTries = 1 << 16

// timers restores interval timers and POSIX timers; they run from here on.
func (r *restorer) timers(t *task) error {
	tm := t.core.Tc.GetTimers()
	if tm == nil {
		return nil
	}
	if err := r.posixTimers(t, tm.Posix); err != nil {
		return err
	}
	c := newCalls(t.s)
	for i, e := range []*timer.ItimerEntry{tm.Real, tm.Virt, tm.Prof} {
		if e.GetVsec() == 0 && e.GetVusec() == 0 {
			continue
		}
		var v [32]byte
		for k, x := range []uint64{e.GetIsec(), e.GetIusec(), e.GetVsec(), e.GetVusec()} {
			binary.LittleEndian.PutUint64(v[8*k:], x)
		}
		c.do(fmt.Sprintf("interval timer %d", i), unix.SYS_SETITIMER, uint64(i), c.Data(v[:]), 0)
	}
	return c.run()
}

func (r *restorer) posixTimers(t *task, list []*timer.PosixTimerEntry) error {
	if len(list) == 0 {
		return nil
	}
	_, err := one(t.s, unix.SYS_PRCTL, prTimerCreateRestoreIDs, 1, 0, 0, 0)
	byID := err == nil
	for _, e := range list {
		if err := r.createTimer(t, e, byID); err != nil {
			return fmt.Errorf("POSIX timer %d: %w", e.GetItId(), err)
		}
	}
	if byID {
		if _, err := one(t.s, unix.SYS_PRCTL, prTimerCreateRestoreIDs, 0, 0, 0, 0); err != nil {
			return fmt.Errorf("POSIX timers: %w", err)
		}
		if err := r.advanceTimerIDs(t, list); err != nil {
			return fmt.Errorf("POSIX timers: %w", err)
		}
	}
	c := newCalls(t.s)
	for _, e := range list {
		if e.GetVsec() == 0 && e.GetVnsec() == 0 {
			continue
		}
		var v [32]byte
		for k, x := range []uint64{e.GetIsec(), e.GetInsec(), e.GetVsec(), e.GetVnsec()} {
			binary.LittleEndian.PutUint64(v[8*k:], x)
		}
		c.do(fmt.Sprintf("POSIX timer %d", e.GetItId()), unix.SYS_TIMER_SETTIME, uint64(e.GetItId()), 0, c.Data(v[:]), 0)
		if err := c.more(); err != nil {
			return err
		}
	}
	return c.run()
}

// maxTimerSteps is how far the counter of timer ids is moved on, a create and a delete each.
const maxTimerSteps = 4096

// advanceTimerIDs moves the process' counter of timer ids past those restored, as it was: ids are not used twice.
// Timers that were given their id left the counter alone.
func (r *restorer) advanceTimerIDs(t *task, list []*timer.PosixTimerEntry) error {
	var last uint32
	for _, e := range list {
		last = max(last, e.GetItId())
	}
	if last > maxTimerSteps {
		return nil
	}
	// the kernel skips ids in use, so the number of steps is that of the free ones
	steps := int(last) + 1 - len(list)
	for steps > 0 {
		b := newCalls(t.s)
		var ev [64]byte
		binary.LittleEndian.PutUint32(ev[12:], sigevNone)
		at := b.Data(ev[:])
		for ; steps > 0 && b.Room() > 4096; steps-- {
			// timer_create writes the id into the argument of timer_delete
			i := b.Len()
			b.do("timer_create", unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, at, b.EntryAddr(i+1)+8)
			b.do("timer_delete", unix.SYS_TIMER_DELETE, 0)
		}
		if err := b.run(); err != nil {
			return err
		}
	}
	return nil
}

const sigevNone = 1

// createTimer makes a timer with its id: where the kernel takes ids, at once; before, by making and deleting timers
// until the counter gets there.
func (r *restorer) createTimer(t *task, e *timer.PosixTimerEntry, byID bool) error {
	var ev [64]byte // struct sigevent
	binary.LittleEndian.PutUint64(ev[0:], e.GetSivalPtr())
	binary.LittleEndian.PutUint32(ev[8:], e.GetSiSigno())
	binary.LittleEndian.PutUint32(ev[12:], e.GetItSigevNotify())
	if e.NotifyThreadId != nil {
		binary.LittleEndian.PutUint32(ev[16:], uint32(e.GetNotifyThreadId()))
	}
	for try := 0; try < maxTimerTries; try++ {
		b := t.s.NewBatch()
		var id [8]byte
		binary.LittleEndian.PutUint32(id[:], e.GetItId())
		at := b.Data(id[:])
		i := b.Call(unix.SYS_TIMER_CREATE, uint64(e.GetClockId()), b.Data(ev[:]), at)
		if err := t.s.Run(b); err != nil {
			return err
		}
		if _, err := b.Result(i); err != nil {
			return fmt.Errorf("timer_create: %w", err)
		}
		if err := b.Read(at, id[:4]); err != nil {
			return err
		}
		got := binary.LittleEndian.Uint32(id[:])
		if got == e.GetItId() {
			return nil
		}
		if byID || got > e.GetItId() {
			return fmt.Errorf("it became %d", got)
		}
		if _, err := one(t.s, unix.SYS_TIMER_DELETE, uint64(got)); err != nil {
			return err
		}
	}
	return fmt.Errorf("not reached by %d attempts: %w: needs Linux 6.15", maxTimerTries, ErrNotSupported)
}
