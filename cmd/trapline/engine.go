// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/trapline/trapline/checkpoint"
)

// The engine, in variables so that tests of the command line can put something else in its place.
var (
	engineDump = func(_ context.Context, pid int, _ *checkpoint.DumpOptions) (*checkpoint.DumpResult, error) {
		return nil, fmt.Errorf("pid %d: dump: %w", pid, checkpoint.ErrNotSupported)
	}
	engineRestore = checkpoint.Restore
)
