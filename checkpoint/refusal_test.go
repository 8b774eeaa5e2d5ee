// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"testing"

	"github.com/trapline/trapline/checkpoint/procfs"
)

// TestRefusal checks that a refusal is ErrNotSupported without its words, and names its process once.
func TestRefusal(t *testing.T) {
	tgt := &target{pid: 7, stat: procfs.Stat{Comm: "python3"}}
	err := tgt.errorf(tgt.errorf(refuse("fd %d is a TCP connection; dump with --tcp-close", 6)))
	if want := "pid 7 (python3): fd 6 is a TCP connection; dump with --tcp-close"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !errors.Is(err, ErrNotSupported) {
		t.Error("it does not wrap ErrNotSupported")
	}
}
