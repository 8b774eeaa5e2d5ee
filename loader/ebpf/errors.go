// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotSupported is wrapped by errors about what this kernel can't do.
var ErrNotSupported = errors.New("not supported")

// A PlaceError says why a probe can't be placed, and what comes nearest.
type PlaceError struct {
	Place   string   // as the user wrote it
	Err     error    // why
	Instead []string // expressions that work here
}

func (e *PlaceError) Error() string {
	s := fmt.Sprintf("probe %s: %v", e.Place, e.Err)
	if len(e.Instead) > 0 {
		s += "; what works here: " + strings.Join(e.Instead, ", ")
	}
	return s
}

func (e *PlaceError) Unwrap() error { return e.Err }
