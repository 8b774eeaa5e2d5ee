// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/timer"
	"golang.org/x/sys/unix"
)

// prTimerCreateRestoreIDs is PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15.
const prTimerCreateRestoreIDs = 77

// maxTimerTries bounds how many timers are made and deleted until one gets its id on older kernels.
const maxTimerTries = 1 << 16

// armTimers starts interval timers and POSIX timers; they run from here on. It comes after the queued signals, so that what a timer
// sends now is behind what it has sent before the dump. All signals may be blocked by then: the calls are made one by one.
func (r *restorer) armTimers(t *task) error {
	tm := t.core.Tc.GetTimers()
	arm := func(nr uintptr, args []uint64, value ...uint64) error {
		var v [32]byte
		for k, x := range value {
			binary.LittleEndian.PutUint64(v[8*k:], x)
		}
		if err := t.s.WriteMem(t.s.Area, v[:]); err != nil {
			return err
		}
		_, err := t.s.Call(nr, append(args, t.s.Area, 0)...)
		return err
	}
	for i, e := range []*timer.ItimerEntry{tm.GetReal(), tm.GetVirt(), tm.GetProf()} {
		if e.GetVsec() == 0 && e.GetVusec() == 0 {
			continue
		}
		if err := arm(unix.SYS_SETITIMER, []uint64{uint64(i)}, e.GetIsec(), e.GetIusec(), e.GetVsec(), e.GetVusec()); err != nil {
			return fmt.Errorf("interval timer %d: %w", i, err)
		}
	}
	for _, e := range tm.GetPosix() {
		if e.GetVsec() == 0 && e.GetVnsec() == 0 {
			continue
		}
		if err := arm(unix.SYS_TIMER_SETTIME, []uint64{uint64(e.GetItId()), 0}, e.GetIsec(), e.GetInsec(), e.GetVsec(), e.GetVnsec()); err != nil {
			return fmt.Errorf("POSIX timer %d: %w", e.GetItId(), err)
		}
	}
	return nil
}

// posixTimers makes the POSIX timers, not armed yet.
func (r *restorer) posixTimers(t *task) error {
	list := t.core.Tc.GetTimers().GetPosix()
	if len(list) == 0 {
		return nil
	}
	_, err := one(t.s, unix.SYS_PRCTL, prTimerCreateRestoreIDs, 1, 0, 0, 0)
	byID := err == nil
	if !byID {
		// The counter only goes up, and older kernels list the newest timer first.
		list = slices.SortedFunc(slices.Values(list), func(a, b *timer.PosixTimerEntry) int { return cmp.Compare(a.GetItId(), b.GetItId()) })
	}
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
	return nil
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
	return refuse("the id is not reached by %d attempts; restore on Linux 6.15 or later, which takes ids", maxTimerTries)
}
