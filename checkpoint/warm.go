// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/json"
	"sync"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	criu_sa "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-sa"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/rlimit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/rseq"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/siginfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timer"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/cpu"
)

var warm sync.Once

// warmTypes finds out about the CPU and prepares the types of the images, in the background. The protobuf library does that
// for each on its first use, a millisecond in all, which would otherwise be part of the time for which the target is frozen.
func warmTypes() {
	go warm.Do(func() {
		cpu.Current()
		for _, m := range []proto.Message{
			&criu_core.CoreEntry{
				ThreadInfo: emptyThreadInfo(),
				Tc: &criu_core.TaskCoreEntry{
					Timers:     &timer.TaskTimersEntry{Real: &timer.ItimerEntry{}, Posix: []*timer.PosixTimerEntry{{}}},
					Rlimits:    &criu_core.TaskRlimitsEntry{Rlimits: []*rlimit.RlimitEntry{{}}},
					SignalsS:   &siginfo.SignalQueueEntry{Signals: []*siginfo.SiginfoEntry{{}}},
					Sigactions: []*criu_sa.SaEntry{{}},
				},
				ThreadCore: &criu_core.ThreadCoreEntry{
					Sas: &criu_core.ThreadSasEntry{}, Creds: &creds.CredsEntry{}, RseqEntry: &rseq.RseqEntry{}, SignalsP: &siginfo.SignalQueueEntry{},
				},
				Ids: &criu_core.TaskKobjIdsEntry{},
			},
			&mm.MmEntry{Vmas: []*vma.VmaEntry{{}}},
			&fdinfo.FileEntry{Reg: &regfile.RegFileEntry{Fown: &fown.FownEntry{}}},
			&fdinfo.FdinfoEntry{},
			&pagemap.PagemapHead{},
			&pagemap.PagemapEntry{},
			&fs.FsEntry{},
			&pstree.PstreeEntry{},
			&inventory.InventoryEntry{},
		} {
			// required fields are missing, on purpose
			b, _ := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
			_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(b, m)
		}
		b, _ := json.Marshal(&Extra{CPU: &cpu.Features{}})
		_ = json.Unmarshal(b, &Extra{})
	})
}
