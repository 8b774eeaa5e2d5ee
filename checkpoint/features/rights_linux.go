// SPDX-License-Identifier: Apache-2.0

package features

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/feature"
)

// A capNumber is a capability (include/uapi/linux/capability.h).
type capNumber uint

const (
	capSetuid            capNumber = unix.CAP_SETUID
	capNetAdmin          capNumber = unix.CAP_NET_ADMIN
	capSysChroot         capNumber = unix.CAP_SYS_CHROOT
	capSysPtrace         capNumber = unix.CAP_SYS_PTRACE
	capSysAdmin          capNumber = unix.CAP_SYS_ADMIN
	capSysResource       capNumber = unix.CAP_SYS_RESOURCE
	capCheckpointRestore capNumber = unix.CAP_CHECKPOINT_RESTORE
)

// effective says whether the caller has a capability.
func effective(c capNumber) (bool, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, (*unix.CapUserData)(unsafe.Pointer(&data))); err != nil {
		return false, fmt.Errorf("capget: %w", err)
	}
	return data[c/32].Effective&(1<<(c%32)) != 0, nil
}

// capability makes a probe of a capability.
func capability(c capNumber) func() error {
	return func() error {
		has, err := effective(c)
		if err == nil && !has {
			err = feature.Missing("the capability is missing: be root, or in a container add it")
		}
		return err
	}
}

// checkpointRestore wants CAP_CHECKPOINT_RESTORE (Linux 5.9) or CAP_SYS_ADMIN, which includes it.
func checkpointRestore() error {
	err := capability(capCheckpointRestore)()
	if err != nil && capability(capSysAdmin)() == nil {
		return nil
	}
	return err
}

// Lockdown gives the kernel's lockdown state: "none", "integrity" or "confidentiality" (kernel_lockdown(7)).
func Lockdown() (string, error) {
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if errors.Is(err, os.ErrNotExist) {
		text, err = detachedLockdown()
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return "none", nil // CONFIG_SECURITY_LOCKDOWN_LSM or all of securityfs is not built in
	}
	if err != nil {
		return "", fmt.Errorf("lockdown: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "[")
	state, _, ok := strings.Cut(rest, "]")
	if !ok {
		return "", fmt.Errorf("lockdown: %q has no state in brackets", text)
	}
	return state, nil
}

// detachedLockdown reads the state where securityfs is not mounted, from a mount that nobody sees.
func detachedLockdown() ([]byte, error) {
	fs, err := unix.Fsopen("securityfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen securityfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("fsconfig securityfs: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fsmount securityfs: %w", err)
	}
	defer unix.Close(mnt)
	fd, err := unix.Openat(mnt, "lockdown", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("securityfs: lockdown: %w", err)
	}
	f := os.NewFile(uintptr(fd), "lockdown")
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<10))
}

func lockdown() error {
	state, err := Lockdown()
	if err == nil && state != "none" {
		lost := "probes and checkpoints are not affected"
		if state == "confidentiality" {
			lost = "no probes of its functions; checkpoints are not affected"
		}
		err = feature.Missing("the kernel is locked down (%s): %s", state, lost)
	}
	return err
}
