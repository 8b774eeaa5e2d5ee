// SPDX-License-Identifier: Apache-2.0

package inject

import "golang.org/x/sys/unix"

const canAsk = true

// setAsk sends a thread to the questions of the blob; see its comment for the registers.
func setAsk(r *Regs, pc, buf Addr, pid, tid int, sig unix.Signal) {
	r.Rip, r.Rbx, r.R12, r.R13, r.R14 = pc, buf, uint64(pid), uint64(tid), uint64(sig)
	r.Rax, r.Orig_rax = 0, ^uint64(0)
	r.Eflags &^= eflagsDF | 1<<8
}

// asked reads the answers that are in registers.
func asked(r *Regs) (failed bool, securebits uint64) { return r.Rbp != 0, r.R15 }
