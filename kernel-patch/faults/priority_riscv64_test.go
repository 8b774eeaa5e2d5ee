// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// before lets the calling goroutine's thread run before everything else, on a thread of its own. Each change of the text waits for all
// harts; a thread of the usual class then waits for the end of the load's time slice, some 10 ms, before it goes on.
func before() error {
	runtime.LockOSThread()
	return schedule(unix.SCHED_FIFO, 1)
}

// schedule sets the class of the calling thread; children don't inherit it.
func schedule(policy, priority uint32) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("set the scheduling class: %w", err)
	}
	return nil
}

// runBefore does so for the rest of a test.
func runBefore(t *testing.T) {
	t.Helper()
	if err := before(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := schedule(unix.SCHED_NORMAL, 0); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
}
