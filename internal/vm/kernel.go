// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel is a kernel that a guest can boot.
type Kernel struct {
	// Series is what a test asks for, "6.1". Commands in the guest have it in TRAPLINE_GUEST.
	Series string
	// Config is the name of its configuration, of a kernel that BuiltKernel has built. "" is a distribution's. Commands in the
	// guest have it in TRAPLINE_GUEST_CONFIG.
	Config string
	// GOARCH is what it runs on; "" is amd64.
	GOARCH string
	// Release is what uname -r says.
	Release string
	// Image is the file that QEMU boots.
	Image string
	// Modules is the directory of the kernel's modules, the guest's /lib/modules/RELEASE. "" for a kernel that needs none.
	Modules string
	// Boot is the directory that the guest sees as /boot (configuration, System.map). "" leaves the host's.
	Boot string
}

// debianPackages are the packages that always depend on the newest kernel of a series (Debian 12).
var debianPackages = map[string]string{
	"6.1":  "linux-image-cloud-amd64",
	"6.12": "linux-image-6.12-cloud-amd64",
}

// DebianSeries are the series that Debian takes, oldest first.
func DebianSeries() []string { return []string{"6.1", "6.12"} }

// Debian returns Debian 12's prebuilt cloud kernel of a series: "6.1" (kprobes, fentry; no fprobe) or "6.12" (fprobe, so
// kprobe.multi and sessions, too).
//
// The package is downloaded with apt, unpacked, and kept in the user's cache directory (trapline/guests), from where it is taken
// without network ever after; remove that directory to get a newer one. Safe for several processes at once.
func Debian(ctx context.Context, series string) (Kernel, error) {
	meta, found := debianPackages[series]
	if !found {
		return Kernel{}, fmt.Errorf("vm: no Debian kernel %q; there is %s", series, strings.Join(DebianSeries(), ", "))
	}
	dir, err := cacheDir("kernels", series)
	if err != nil {
		return Kernel{}, err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	unpacked, err := newestUnpacked(dir)
	if err != nil {
		return Kernel{}, err
	}
	if unpacked == "" {
		if unpacked, err = download(ctx, meta, dir); err != nil {
			return Kernel{}, fmt.Errorf("vm: kernel %s: %w", series, err)
		}
	}
	return unpackedKernel(series, unpacked)
}

// newestUnpacked returns the last unpacked package in dir, "" if there is none.
func newestUnpacked(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("vm: kernels: %w", err)
	}
	var found []fs.FileInfo
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), "linux-image-") {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return "", fmt.Errorf("vm: kernels: %w", err)
		}
		found = append(found, info)
	}
	if len(found) == 0 {
		return "", nil
	}
	newest := slices.MaxFunc(found, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	return filepath.Join(dir, newest.Name()), nil
}

// download fetches the package that meta depends on and unpacks it below dir.
func download(ctx context.Context, meta, dir string) (string, error) {
	name, err := dependency(ctx, meta)
	if err != nil {
		// A fresh system has no package lists, an old one may have lists that no longer match the archive.
		if _, err := hostRun(ctx, "", "apt-get", "-qq", "update"); err != nil {
			return "", err
		}
		if name, err = dependency(ctx, meta); err != nil {
			return "", fmt.Errorf("%w; is Debian 12's main archive among apt's sources?", err)
		}
	}
	work, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	// apt gives the download to a user of its own where it can; as root in root's directory it would only complain.
	get := func() error {
		_, err := hostRun(ctx, work, "apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name)
		return err
	}
	if err := get(); err != nil {
		if _, update := hostRun(ctx, "", "apt-get", "-qq", "update"); update != nil {
			return "", errors.Join(err, update)
		}
		if name, err = dependency(ctx, meta); err != nil {
			return "", err
		}
		if err := get(); err != nil {
			return "", fmt.Errorf("%w; download the package %s some time when there is network", err, name)
		}
	}
	files, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d files", name, len(files))
	}
	tree := filepath.Join(work, "tree")
	if _, err := hostRun(ctx, "", "dpkg-deb", "-x", files[0], tree); err != nil {
		return "", err
	}
	target := filepath.Join(dir, strings.TrimSuffix(filepath.Base(files[0]), ".deb"))
	if err := os.Rename(tree, target); err != nil {
		return "", err
	}
	return target, nil
}

// dependency returns the versioned kernel package that the package meta depends on.
func dependency(ctx context.Context, meta string) (string, error) {
	out, err := hostRun(ctx, "", "apt-cache", "depends", "--no-recommends", "--no-suggests", meta)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); found {
			return "linux-image-" + name, nil
		}
	}
	return "", fmt.Errorf("apt knows no package %s that depends on a kernel", meta)
}

// unpackedKernel describes the kernel of an unpacked package.
func unpackedKernel(series, dir string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return Kernel{}, fmt.Errorf("vm: %s has %d kernel images, not one; remove the directory to have it downloaded again", dir, len(images))
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	return Kernel{
		Series:  series,
		Release: release,
		Image:   images[0],
		Modules: filepath.Join(dir, "lib", "modules", release),
		Boot:    filepath.Join(dir, "boot"),
	}, nil
}

// cacheDir returns a directory below the user's cache, and makes it.
func cacheDir(parts ...string) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		// No HOME: a service of a build machine, say.
		base = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Getuid()))
	}
	dir := filepath.Join(append([]string{base, "trapline", "guests"}, parts...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("vm: cache: %w", err)
	}
	return dir, nil
}

// lock takes the lock of a file against other processes and waits for it. The function returned gives it back.
func lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("vm: lock: %w", err)
	}
	taken := make(chan error, 1)
	go func() {
		for {
			err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
			if !errors.Is(err, unix.EINTR) {
				taken <- err
				return
			}
		}
	}()
	select {
	case err := <-taken:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("vm: lock %s: %w", path, err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { // the lock may still come; then it is given back
			<-taken
			f.Close()
		}()
		return nil, fmt.Errorf("vm: waiting for %s: %w", path, ctx.Err())
	}
}

// hostRun runs a program of the host and returns its standard output. The error has the command and what it said.
func hostRun(ctx context.Context, dir string, args ...string) (string, error) {
	return hostRunEnv(ctx, dir, nil, args...)
}

// hostRunEnv is hostRun with more in the environment.
func hostRunEnv(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(os.Environ(), []string{"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, env)
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	if exited, ok := errors.AsType[*exec.ExitError](err); ok && len(exited.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exited.Stderr)))
	}
	return "", fmt.Errorf("%s: %w", strings.Join(args, " "), err)
}
