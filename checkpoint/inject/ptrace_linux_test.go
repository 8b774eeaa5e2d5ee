// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStackMoves asks ptrace at every depth of a goroutine's stack: where the stack is full it moves, between the request and the call that
// the kernel sees, with the variables that it reads and writes. (It once wrote the registers of whatever came to lie there: the target died.)
func TestStackMoves(t *testing.T) {
	t.Parallel()
	pid := start(t, 86400).Process.Pid
	for depth := range 192 {
		done := make(chan struct{})
		go func() { // one with a small stack
			defer close(done)
			runtime.LockOSThread()
			tr, err := Seize(pid, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = tr.Detach(0) }()
			if err := tr.Interrupt(); err != nil {
				t.Error(err)
				return
			}
			if _, err := tr.Wait(); err != nil {
				t.Error(err)
				return
			}
			dig(depth, func() {
				r, err := tr.Regs()
				if err != nil || pc(&r) == 0 {
					t.Errorf("depth %d: registers: pc %#x, %v", depth, pc(&r), err)
					return
				}
				if err := tr.SetRegs(&r); err != nil {
					t.Errorf("depth %d: setting them: %v", depth, err)
				}
			})
			dig(depth, func() {
				if m, err := tr.SigMask(); err != nil || m != 0 {
					t.Errorf("depth %d: signal mask: %#x, %v", depth, m, err)
				}
			})
		}()
		<-done
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Error(err)
	}
}

// dig calls fn with n words more on the stack.
//
//go:noinline
func dig(n int, fn func()) {
	if n == 0 {
		fn()
		return
	}
	dig(n-1, fn)
}
