// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/stage"
)

// writeStats writes stats-restore and the stages, into the work directory if one is given, else to the images. The tree
// runs by now: a directory that can't be written is worth a warning, no more.
func (r *restorer) writeStats() {
	report := r.tl.Report()
	e := &stats.StatsEntry{Restore: &stats.RestoreStatsEntry{
		PagesCompared: proto.Uint64(0), PagesSkippedCow: proto.Uint64(0), PagesRestored: proto.Uint64(uint64(r.result.Pages)),
		ForkingTime: micros(report.Of(stage.Fork).Dur), RestoreTime: micros(report.Total),
	}}
	dir := r.opts.WorkDir
	if dir == "" {
		dir = r.opts.ImagesDir
	}
	if err := image.WriteStats(dir, e, report); err != nil {
		r.log.Warn("the statistics of the restore are not written", "err", err)
	}
}
