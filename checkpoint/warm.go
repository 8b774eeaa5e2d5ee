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
	"github.com/trapline/trapline/checkpoint/image"
)

var (
	warm   sync.Once
	warmed = make(chan struct{}) // closed when Warm is done
)

// Warm prepares in the background what the first dump of a program would otherwise do while the target is frozen, two milliseconds in all: the
// types of the images, which the protobuf library prepares one by one on their first use, tables, and what there is to know about the CPU.
// Dump calls it and waits for it before it stops anything; a program that is about to call Dump gains a bit if it calls Warm as soon as it knows.
func Warm() {
	// One goroutine: a second CPU must be left for the program itself.
	warm.Do(func() {
		go func() {
			defer close(warmed)
			image.Warm()
			warmTypes(&inventory.InventoryEntry{}, &pstree.PstreeEntry{}, &criu_core.CoreEntry{})
			warmTypes(archTypes()...)
			warmTypes(
				&criu_core.TaskCoreEntry{}, &criu_core.ThreadCoreEntry{}, &criu_core.TaskKobjIdsEntry{}, &criu_core.ThreadSasEntry{}, &creds.CredsEntry{},
				&rseq.RseqEntry{}, &siginfo.SignalQueueEntry{}, &siginfo.SiginfoEntry{}, &criu_sa.SaEntry{}, &criu_core.TaskRlimitsEntry{},
				&rlimit.RlimitEntry{}, &timer.TaskTimersEntry{}, &timer.ItimerEntry{}, &timer.PosixTimerEntry{},
				&mm.MmEntry{}, &vma.VmaEntry{}, &pagemap.PagemapHead{}, &pagemap.PagemapEntry{}, &fs.FsEntry{},
				&fdinfo.FileEntry{}, &regfile.RegFileEntry{}, &fown.FownEntry{}, &fdinfo.FdinfoEntry{},
			)
			cpu.Current()
			_, _ = json.Marshal(&Extra{CPU: &cpu.Features{}})
		}()
	})
}

func warmTypes(messages ...proto.Message) {
	for _, m := range messages {
		_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(nil, m)
	}
}
