// SPDX-License-Identifier: Apache-2.0

package ebpf

import "github.com/trapline/trapline/loader/internal/place"

// ErrNotSupported is wrapped by errors about what this kernel can't do.
var ErrNotSupported = place.ErrNotSupported

// A PlaceError says why a probe can't be placed, and what comes nearest.
type PlaceError = place.Error
