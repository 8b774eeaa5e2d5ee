// SPDX-License-Identifier: Apache-2.0

package features

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/feature"
)

// withFile runs fn with a descriptor of a file.
func withFile(name string, fn func(fd int) error) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer unix.Close(fd)
	return fn(fd)
}

// fdinfo reads what /proc says about a descriptor of this process.
func fdinfo(fd int) ([]byte, error) {
	// A feature test is no hot path: no need to limit what is read of a file that the kernel makes.
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return nil, fmt.Errorf("fdinfo: %w", err)
	}
	return text, nil
}

func fdinfoMountID() error {
	return withFile(os.DevNull, func(fd int) error {
		text, err := fdinfo(fd)
		if err == nil && !bytes.Contains(text, []byte("mnt_id:")) {
			err = feature.Missing("fdinfo has no mnt_id")
		}
		return err
	})
}

func fdinfoLock() error {
	fd, err := unix.MemfdCreate("trapline", unix.MFD_CLOEXEC)
	if err != nil {
		return feature.Unless("memfd_create", err)
	}
	defer unix.Close(fd)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return feature.Unless("flock", err)
	}
	text, err := fdinfo(fd)
	if err == nil && !bytes.Contains(text, []byte("lock:")) {
		err = feature.Missing("fdinfo does not show locks")
	}
	return err
}

func openat2() error {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return feature.Unless("openat2", err, unix.E2BIG)
	}
	return unix.Close(fd)
}

// readable makes a probe that a file of /proc is there.
func readable(name string) func() error {
	return func() error {
		_, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			return feature.Missing("no %s", name)
		}
		return err
	}
}

func statusNSpid() error {
	text, err := os.ReadFile("/proc/self/status")
	if err == nil && !bytes.Contains(text, []byte("\nNSpid:")) {
		err = feature.Missing("/proc/PID/status has no NSpid")
	}
	return err
}

func nsGetUserNS() error {
	return withFile("/proc/self/ns/pid", func(fd int) error {
		got, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
		if errors.Is(err, unix.EPERM) {
			return nil // the owner is out of sight; the kernel knows the request
		}
		if err != nil {
			return feature.Unless("NS_GET_USERNS", err, unix.ENOTTY)
		}
		return unix.Close(got)
	})
}

// moveMountSetGroup asks for a group of a file that is no mount: EINVAL either way, so only the order of the
// kernel's checks tells. A flag that is not known comes before everything else.
func moveMountSetGroup() error {
	err := unix.MoveMount(-1, "", -1, "", unix.MOVE_MOUNT_SET_GROUP)
	if errors.Is(err, unix.EINVAL) {
		return feature.Missing("move_mount does not know MOVE_MOUNT_SET_GROUP")
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("move_mount: %w", err)
	}
	return unlessOther("move_mount", err)
}

// unlessOther is for calls made with bad arguments: any error but ENOSYS shows that the kernel got that far.
func unlessOther(what string, err error) error {
	if errors.Is(err, unix.ENOSYS) {
		return feature.Missing("%s: %v", what, err)
	}
	return nil
}

// filesystem makes a probe that a kind of filesystem is known.
func filesystem(name string) func() error {
	return func() error {
		text, err := os.ReadFile("/proc/filesystems")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 0 && f[len(f)-1] == name {
				return nil
			}
		}
		return feature.Missing("%s is not in /proc/filesystems", name)
	}
}

func apparmorStacking() error {
	text, err := os.ReadFile("/sys/kernel/security/apparmor/features/domain/stack")
	if errors.Is(err, os.ErrNotExist) {
		return feature.Missing("AppArmor is not active, or too old")
	}
	if err == nil && !bytes.HasPrefix(text, []byte("yes")) {
		err = feature.Missing("AppArmor can't stack profiles")
	}
	return err
}

func iptablesLegacy() error {
	for _, name := range []string{"iptables-legacy", "iptables"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "--version").Output()
		if err == nil && !bytes.Contains(out, []byte("nf_tables")) {
			return nil
		}
	}
	return feature.Missing("no iptables that uses the old interface")
}
