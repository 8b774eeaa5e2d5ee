// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/vm/wire"
)

// selfPath is where this program stays visible after the change of root: the agent is started from it.
const selfPath = "/run/trapline-init"

// Where the host's files are mounted before they are made the root, and the root to be.
const (
	hostRoot   = "/host"
	sharedRoot = "/shared"
	overlay    = "/overlay"
	newRoot    = "/newroot"
)

// mount is one file system of the guest.
type mount struct {
	fstype, target, data string
	flags                uintptr
	// optional: a kernel without it is still a guest.
	optional bool
}

// base is needed before the modules are loaded.
var base = []mount{
	{fstype: "proc", target: "/proc", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{fstype: "sysfs", target: "/sys", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{fstype: "devtmpfs", target: "/dev", flags: unix.MS_NOSUID},
}

// inside is mounted below the new root, in this order. What the host has there is hidden.
var inside = []mount{
	{fstype: "proc", target: "/proc", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{fstype: "sysfs", target: "/sys", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{fstype: "devtmpfs", target: "/dev", flags: unix.MS_NOSUID},
	{fstype: "devpts", target: "/dev/pts", data: "mode=620,ptmxmode=666"},
	{fstype: "tmpfs", target: "/dev/shm", data: "mode=1777"},
	{fstype: "tmpfs", target: "/run", data: "mode=755"},
	{fstype: "cgroup2", target: "/sys/fs/cgroup", optional: true},
	{fstype: "bpf", target: "/sys/fs/bpf", data: "mode=700", optional: true},
	{fstype: "debugfs", target: "/sys/kernel/debug", optional: true},
	{fstype: "tracefs", target: "/sys/kernel/tracing", optional: true},
}

// prepare turns the initramfs into the guest: it returns in the new root.
func prepare() (wire.Setup, error) {
	var setup wire.Setup
	text, err := os.ReadFile(wire.Settings)
	if err != nil {
		return setup, err
	}
	if err := json.Unmarshal(text, &setup); err != nil {
		return setup, fmt.Errorf("%s: %w", wire.Settings, err)
	}
	if err := mountAll("/", base); err != nil {
		return setup, err
	}
	for _, module := range setup.Modules {
		if err := load(module); err != nil {
			return setup, err
		}
	}
	if err := newRootMounts(setup); err != nil {
		return setup, err
	}
	if err := keepSelf(); err != nil {
		return setup, err
	}
	if err := changeRoot(); err != nil {
		return setup, err
	}
	if err := unix.Sethostname([]byte(setup.Hostname)); err != nil {
		return setup, fmt.Errorf("sethostname: %w", err)
	}
	return setup, loopbackUp()
}

func mountAll(root string, mounts []mount) error {
	for _, m := range mounts {
		target := filepath.Join(root, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			if m.optional {
				continue
			}
			return err
		}
		err := unix.Mount(m.fstype, target, m.fstype, m.flags, m.data)
		if err != nil && !m.optional {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, target, err)
		}
	}
	return nil
}

// load loads a kernel module of the initramfs.
func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", path, err)
	}
	return nil
}

// newRootMounts builds the tree at newRoot: the host's files below a layer in memory that takes what the guest writes.
func newRootMounts(setup wire.Setup) error {
	for _, dir := range []string{hostRoot, sharedRoot, overlay, newRoot} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(wire.HostTag, hostRoot, "virtiofs", 0, ""); err != nil {
		return fmt.Errorf("mount the host's files: %w", err)
	}
	if err := unix.Mount("tmpfs", overlay, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	upper, work := filepath.Join(overlay, "upper"), filepath.Join(overlay, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", hostRoot, upper, work)
	if err := unix.Mount("overlay", newRoot, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	if err := mountAll(newRoot, inside); err != nil {
		return err
	}
	for _, bind := range setup.Binds {
		if err := bindMount(hostRoot, bind.From, bind.To, unix.MS_RDONLY); err != nil {
			return err
		}
	}
	if len(setup.Shared) == 0 {
		return nil
	}
	if err := unix.Mount(wire.SharedTag, sharedRoot, "virtiofs", 0, ""); err != nil {
		return fmt.Errorf("mount the host's shared directories: %w", err)
	}
	for _, dir := range setup.Shared {
		if err := bindMount(sharedRoot, dir, dir, 0); err != nil {
			return err
		}
	}
	return nil
}

// bindMount makes the host's from, which is below root, visible at to in the new root.
func bindMount(root, from, to string, flags uintptr) error {
	source, target := filepath.Join(root, from), filepath.Join(newRoot, to)
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("the host's %s: %w", from, err)
	}
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		if info.IsDir() {
			err = os.MkdirAll(target, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
			err = os.WriteFile(target, nil, 0o644)
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	if flags == 0 {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""); err != nil {
		return fmt.Errorf("remount %s: %w", to, err)
	}
	return nil
}

// keepSelf copies this program to where the new root shows it: the initramfs is out of sight afterwards.
func keepSelf() error {
	code, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	return os.WriteFile(newRoot+selfPath, code, 0o755)
}

// changeRoot moves newRoot onto / as switch_root(8) does: an initramfs can't be left by pivot_root(2).
func changeRoot() error {
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to /: %w", newRoot, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}

// loopbackUp brings lo up: a new network namespace has it down.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// portDevice finds the device of the virtio-serial port.
func portDevice() (string, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil && strings.TrimSpace(string(text)) == wire.Port {
			return "/dev/" + filepath.Base(filepath.Dir(name)), nil
		}
	}
	return "", fmt.Errorf("no virtio-serial port %s", wire.Port)
}
