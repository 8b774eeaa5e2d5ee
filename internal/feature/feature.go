// SPDX-License-Identifier: Apache-2.0

// Package feature is what machines can do or not, and why: one Feature is one thing, tested by trying it.
package feature

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNotSupported is wrapped by the error of a feature that this machine does not have.
var ErrNotSupported = errors.New("not supported")

// A Level says who needs a feature.
type Level uint8

const (
	Required     Level = iota // every dump and restore
	Extra                     // some process trees
	Experimental              // nothing yet, or only to be faster
)

// String gives the level as check prints it.
func (l Level) String() string {
	return [...]string{"required", "extra", "experimental"}[l]
}

// A Feature is one thing that a machine can do. Its methods may be called from any goroutine.
type Feature struct {
	Name  string // CRIU's name for it where CRIU has one
	Level Level
	Since string // first Linux version that has it, such as "5.5"; empty if it depends on no version
	Needs string // what else it needs: kernel options, a capability; empty if nothing
	Use   string // what it is for

	Probe func() error // how to test it: nil, an error of Missing or Unless, or another one if it can't be tested

	mu     sync.Mutex
	tested bool
	err    error
}

// UnsupportedError says why a feature is not there. It wraps [ErrNotSupported].
type UnsupportedError struct {
	Feature *Feature
	Reason  string // what the test saw; may be empty
}

func (e *UnsupportedError) Error() string {
	var b strings.Builder
	b.WriteString(e.Feature.Name + " is not supported")
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	var needs []string
	if e.Feature.Since != "" && !e.Feature.old() {
		needs = append(needs, "Linux "+e.Feature.Since)
	}
	if e.Feature.Needs != "" {
		needs = append(needs, e.Feature.Needs)
	}
	if needs != nil {
		b.WriteString(" (needs " + strings.Join(needs, ", ") + ")")
	}
	return b.String()
}

func (e *UnsupportedError) Unwrap() error { return ErrNotSupported }

// old says whether the running kernel is new enough for the feature.
func (f *Feature) old() bool {
	have, err := KernelVersion()
	return err == nil && have.AtLeast(f.Since)
}

// Test says whether the machine has the feature: nil, an error that wraps [ErrNotSupported], or another one if it
// could not be found out.
func (f *Feature) Test() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tested {
		return f.err
	}
	err := f.Probe()
	var no absent
	switch {
	case err == nil:
	case errors.As(err, &no):
		err = &UnsupportedError{Feature: f, Reason: no.reason}
	default:
		return fmt.Errorf("%s could not be tested: %w", f.Name, err)
	}
	f.tested, f.err = true, err
	return err
}

// absent is what a probe returns if the feature is not there.
type absent struct{ reason string }

func (a absent) Error() string { return a.reason }

// Missing makes the error of a probe that found the feature not to be there, and says what it saw.
func Missing(format string, args ...any) error { return absent{fmt.Sprintf(format, args...)} }

// Unless turns a system call's error into that of Missing if it is one of those with which the kernel says that it does not
// know the call or its flags, and leaves every other one as it is. ENOSYS always says so.
func Unless(what string, err error, unknown ...unix.Errno) error {
	if err == nil {
		return nil
	}
	for _, e := range append(unknown, unix.ENOSYS) {
		if errors.Is(err, e) {
			return Missing("%s: %v", what, err)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}
