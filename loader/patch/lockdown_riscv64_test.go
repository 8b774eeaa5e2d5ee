// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/spectest"
)

// In a kernel that is locked down, not even root may probe, and errors say why.
func TestLockdown(t *testing.T) {
	c := validCall()
	if _, errno := c.open(); errno != unix.EPERM || abi.Reason(c.attr.Reason) != abi.ReasonLockdown {
		t.Errorf("probe_open: %v, reason %d; want EPERM, reason %d", errno, c.attr.Reason, abi.ReasonLockdown)
	}
	_, err := Open(t.Context(), spectest.Parse(t, "vfs_write"), nil)
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "locked down") {
		t.Errorf("Open: %v; want EPERM, and that the kernel is locked down", err)
	}
	for _, f := range Features() {
		if err := f.Test(); err == nil {
			t.Errorf("feature %s works", f.Name)
		}
	}
}

// A probe that was opened before the kernel was locked down can be read and taken out, and not enabled any more.
func TestLockdownLater(t *testing.T) {
	fd := validProbe(t, nil)
	if err := errors.Join(control(fd, abi.IocEnable, 0), writes(1), control(fd, abi.IocDisable, 0)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := unix.Mount("securityfs", dir, "securityfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	if err := os.WriteFile(filepath.Join(dir, "lockdown"), []byte("confidentiality"), 0); err != nil {
		t.Fatal(err)
	}
	for _, argument := range []int{0, abi.WholeGroup} {
		if err := control(fd, abi.IocEnable, argument); err != unix.EPERM {
			t.Errorf("enable, %d: %v, want EPERM", argument, err)
		}
	}
	b := make([]byte, statsSize)
	if n, err := unix.Read(fd, b); err != nil || n != statsSize {
		t.Errorf("read: %d bytes (%v)", n, err)
	}
	if err := errors.Join(control(fd, abi.IocReset, 0), control(fd, abi.IocDisable, 0)); err != nil {
		t.Error(err)
	}
}
