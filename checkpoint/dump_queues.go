// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
)

// lookAgain reads the queues of pending signals once more, after the timers were asked what they have left. Time does not stop with
// the process: a timer that expired since the first look has sent its signal and says that it is not armed, so that neither would
// be in the images. One that has expired since it was asked has done both, and is not armed any more.
func (t *target) lookAgain() error {
	var fresh []inject.SigInfo
	for _, th := range t.threads {
		now, err := th.tracee.Pending(false)
		if err != nil {
			return err
		}
		fresh = append(fresh, added(th.queue, now)...)
		th.queue = now
	}
	now, err := t.leader().tracee.Pending(true)
	if err != nil {
		return err
	}
	fresh = append(fresh, added(t.sharedQueue, now)...)
	t.sharedQueue = now
	for i := range fresh {
		t.expired(&fresh[i])
	}
	return nil
}

// added are the signals of now that were not pending before.
func added(before, now []inject.SigInfo) []inject.SigInfo {
	var list []inject.SigInfo
	for _, i := range now {
		if !slices.Contains(before, i) {
			list = append(list, i)
		}
	}
	return list
}

// expired disarms, in what the images will say, the timer that has sent a signal and does so only once.
func (t *target) expired(info *inject.SigInfo) {
	const (
		codeOffset, timerOffset = 8, 16 // si_code, si_timerid
		siTimer, siKernel       = -2, 128
	)
	ne := binary.NativeEndian
	switch code := int32(ne.Uint32(info[codeOffset:])); {
	case code == siTimer:
		id := int32(ne.Uint32(info[timerOffset:]))
		for i := range t.posixTimers {
			if tm := &t.posixTimers[i]; tm.ID == int(id) && tm.value.Interval == (unix.Timespec{}) {
				tm.value.Value = unix.Timespec{}
			}
		}
	case code == siKernel && info.Signo() == unix.SIGALRM:
		if it := &t.answers.itimers[unix.ITIMER_REAL]; it.Interval == (unix.Timeval{}) {
			it.Value = unix.Timeval{}
		}
	}
}
