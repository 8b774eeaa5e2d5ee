// SPDX-License-Identifier: Apache-2.0

// Package features says what the machine that it runs on can do for a checkpoint or a restore, what it can't, and
// why.
//
// Every [Feature] is tested by trying it, when it is first asked for and never before. A test has three outcomes:
// nil, an error that wraps [ErrNotSupported], and any other error: it could not be tested. Only the first two are
// remembered. No test changes anything that outlives it; the tests of ptrace start a process that never runs a
// single instruction of its program.
package features

import (
	"fmt"

	"github.com/trapline/trapline/internal/feature"
)

// ErrNotSupported is wrapped by the error of a feature that this machine does not have.
var ErrNotSupported = feature.ErrNotSupported

// A Feature is one thing that a machine can do. An UnsupportedError says why one is not there.
type (
	Feature          = feature.Feature
	Level            = feature.Level
	UnsupportedError = feature.UnsupportedError
	Version          = feature.Version
)

// Who needs a feature.
const (
	Required     = feature.Required     // every dump and restore
	Extra        = feature.Extra        // some process trees
	Experimental = feature.Experimental // nothing yet, or only to be faster
)

// List gives all features, what every dump needs first. The slice belongs to the caller.
func List() []*Feature {
	return append([]*Feature(nil), table()...)
}

// Find gives the feature of that name, nil if there is none.
func Find(name string) *Feature {
	for _, f := range table() {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Test tests the feature of that name.
func Test(name string) error {
	f := Find(name)
	if f == nil {
		return fmt.Errorf("no feature %q", name)
	}
	return f.Test()
}
