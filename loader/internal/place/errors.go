// SPDX-License-Identifier: Apache-2.0

package place

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotSupported is wrapped by errors about what this kernel can't do.
var ErrNotSupported = errors.New("not supported")

// An Error says why a probe can't be placed, and what comes nearest.
type Error struct {
	Place   string   // as the user wrote it
	Err     error    // why
	Instead []string // expressions that work here
}

func (e *Error) Error() string {
	s := fmt.Sprintf("probe %s: %v", e.Place, e.Err)
	if len(e.Instead) > 0 {
		s += "; what works here: " + strings.Join(e.Instead, ", ")
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// mostErrors is how many errors of one kind are worth reading.
const mostErrors = 10

// JoinFew joins errors, but not thousands.
func JoinFew(errs []error) error {
	if more := len(errs) - mostErrors; more > 0 {
		errs = append(errs[:mostErrors:mostErrors], fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}
