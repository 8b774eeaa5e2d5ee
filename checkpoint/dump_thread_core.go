// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/rseq"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// threadCore is the entry of one thread, without what belongs to its process.
func threadCore(t *target, th *targetThread) (*criu_core.CoreEntry, error) {
	e := &criu_core.CoreEntry{Mtype: coreArch.Enum()}
	if err := putRegs(e, th); err != nil {
		return nil, err
	}
	tc := &criu_core.ThreadCoreEntry{
		FutexRla: proto.Uint64(th.robust), FutexRlaLen: proto.Uint32(uint32(th.robustLen)),
		SchedPolicy: proto.Uint32(th.sched.Policy),
		BlkSigset:   proto.Uint64(th.mask),
		Sas: &criu_core.ThreadSasEntry{
			SsSp: proto.Uint64(th.altStack.sp), SsSize: proto.Uint64(th.altStack.size), SsFlags: proto.Uint32(th.altStack.flags),
		},
		SignalsP: signalQueue(th.queue),
		Creds:    credsEntry(th),
		Comm:     proto.String(th.status.Name),
	}
	tc.SchedNice = proto.Int32(int32(th.nice))
	if th.sched.Policy == unix.SCHED_FIFO || th.sched.Policy == unix.SCHED_RR {
		tc.SchedPrio = proto.Uint32(th.sched.Priority)
	}
	if th.pdeathSig != 0 {
		tc.PdeathSig = proto.Uint32(th.pdeathSig)
	}
	if th.status.Seccomp != 0 {
		tc.SeccompMode = criu_core.SeccompMode(th.status.Seccomp).Enum()
		if th.filter >= 0 {
			tc.SeccompFilter = proto.Uint32(uint32(th.filter))
		}
	}
	if th.rseq.Ptr != 0 {
		tc.RseqEntry = &rseq.RseqEntry{
			RseqAbiPointer: proto.Uint64(th.rseq.Ptr), RseqAbiSize: proto.Uint32(th.rseq.Size), Signature: proto.Uint32(th.rseq.Signature),
		}
		if th.rseqCS != 0 {
			tc.RseqEntry.RseqCsPointer = proto.Uint64(th.rseqCS)
		}
	}
	e.ThreadCore = tc
	return e, nil
}

func credsEntry(th *targetThread) *creds.CredsEntry {
	s := &th.status
	e := &creds.CredsEntry{
		Uid: proto.Uint32(s.Uid[0]), Euid: proto.Uint32(s.Uid[1]), Suid: proto.Uint32(s.Uid[2]), Fsuid: proto.Uint32(s.Uid[3]),
		Gid: proto.Uint32(s.Gid[0]), Egid: proto.Uint32(s.Gid[1]), Sgid: proto.Uint32(s.Gid[2]), Fsgid: proto.Uint32(s.Gid[3]),
		CapInh: capWords(s.CapInh), CapPrm: capWords(s.CapPrm), CapEff: capWords(s.CapEff), CapBnd: capWords(s.CapBnd),
		CapAmb:  capWords(s.CapAmb),
		Secbits: proto.Uint32(th.secureBits), Groups: s.Groups,
	}
	if s.NoNewPrivs {
		e.NoNewPrivs = proto.Uint32(1)
	}
	return e
}

// capWords is a capability set as the kernel's struct __user_cap_data_struct has it: low word first.
func capWords(c uint64) []uint32 { return []uint32{uint32(c), uint32(c >> 32)} }
