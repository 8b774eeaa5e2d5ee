// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"strconv"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/stage"
)

// fs writes fs-PID.img of each process: current and root directory, umask.
func (d *dumper) fs() error {
	return d.each(stage.FS, func(t *target, _ stage.Span) error {
		return d.w.Put("fs-"+strconv.Itoa(t.vpid)+".img", &fs.FsEntry{
			CwdId: proto.Uint32(t.cwdID), RootId: proto.Uint32(t.rootID), Umask: proto.Uint32(t.status.Umask),
		})
	})
}
