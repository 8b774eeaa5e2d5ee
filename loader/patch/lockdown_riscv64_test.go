// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// In a kernel that is locked down, not even root may probe, and errors say why.
func TestLockdown(t *testing.T) {
	c := validCall()
	if _, errno := c.open(); errno != unix.EPERM || reason(c.attr.Reason) != reasonLockdown {
		t.Errorf("probe_open: %v, reason %d; want EPERM, reason %d", errno, c.attr.Reason, reasonLockdown)
	}
	_, err := Open(t.Context(), parse(t, "vfs_write"), nil)
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "locked down") {
		t.Errorf("Open: %v; want EPERM, and that the kernel is locked down", err)
	}
	for _, f := range Features() {
		if err := f.Test(); err == nil {
			t.Errorf("feature %s works", f.Name)
		}
	}
}
