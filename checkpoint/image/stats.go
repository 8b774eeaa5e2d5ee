// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"
)

// WriteStats writes stats-dump or stats-restore outside of an images directory, as the name's last element says. It belongs
// to no checkpoint and has no checksum. A file of the name is replaced.
func WriteStats(name string, m proto.Message) error {
	k, err := imageKind(filepath.Base(name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	data, err := appendEntry(k.header(), m)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.WriteFile(name, data, filePerm)
}
