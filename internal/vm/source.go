// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names in a series' directory:
//
//	source/           as Debian has it
//	NAME/source/      hard links to it, but for what the patch changes
//	NAME/build/       what make writes
//	built/NAME-HASH/  the results
//
// A source is always beside its build: ccache finds only what has the same place, seen from the build.
const (
	sourceName = "source"
	buildName  = "build"
	builtName  = "built"
)

// peerDir has the driver that internal/bench/riscv compares the patch with.
const peerDir = "internal/bench/riscv/peer"

// stampName is a file in a source tree that says what it was made of. It is written last.
const stampName = ".trapline-stamp"

// leftOut is what of a kernel's source tree is large and not for this architecture.
var leftOut = []string{"Documentation/*/*", "tools/testing", "drivers/gpu/drm/amd/include", "drivers/gpu/drm/nouveau/include"}

// sourceTree makes the source tree of this build, below dir, and returns it. The caller has the build's lock.
func (r *recipe) sourceTree(ctx context.Context, series, dir string) (string, error) {
	tree := filepath.Join(dir, sourceName)
	if stamped(tree, r.sourceStamp()) {
		return tree, nil
	}
	unlock, err := lock(ctx, filepath.Join(series, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	pristine := filepath.Join(series, sourceName)
	if err := r.unpack(ctx, pristine); err != nil {
		return "", err
	}
	return tree, r.linkTree(ctx, pristine, tree)
}

// sourceStamp says what a build's source tree was made of.
func (r *recipe) sourceStamp() string { return strings.TrimSpace(r.version + " " + r.patch) }

// unpack unpacks the source package, if it is not there in this version.
func (r *recipe) unpack(ctx context.Context, source string) error {
	if stamped(source, r.version) {
		return nil
	}
	fresh := source + ".new"
	for _, old := range []string{source, fresh} {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
	}
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	args := []string{"tar", "-C", fresh, "--strip-components=1", "--no-same-owner"}
	for _, pattern := range leftOut {
		args = append(args, "--exclude=*/"+pattern)
	}
	if _, err := hostRun(ctx, "", append(args, "-xf", r.archive)...); err != nil {
		return err
	}
	if err := stamp(fresh, r.version); err != nil {
		return err
	}
	return os.Rename(fresh, source)
}

// linkTree makes a build's tree. What a new patch leaves as it was keeps its time, so that make compiles only what changed.
func (r *recipe) linkTree(ctx context.Context, source, tree string) error {
	fresh := tree + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if _, err := hostRun(ctx, "", "cp", "-al", source, fresh); err != nil {
		return err
	}
	// A file that is renamed over breaks the link; the stamp here would go through it.
	if err := os.Remove(filepath.Join(fresh, stampName)); err != nil {
		return err
	}
	if !r.config.Unpatched {
		began := time.Now()
		if err := r.apply(ctx, fresh); err != nil {
			return err
		}
		if err := keepTimes(source, fresh, tree, began); err != nil {
			return err
		}
	}
	if err := stamp(fresh, r.sourceStamp()); err != nil {
		return err
	}
	if err := os.RemoveAll(tree); err != nil {
		return err
	}
	return os.Rename(fresh, tree)
}

// apply patches a tree.
func (r *recipe) apply(ctx context.Context, tree string) error {
	if _, err := hostRun(ctx, r.root, filepath.Join(r.root, "kernel-patch", "linux", "apply"), tree); err != nil {
		return fmt.Errorf("apply the patch: %w", err)
	}
	// What the benchmark compares with: not part of the patch, and built only by its configuration.
	if _, err := hostRun(ctx, r.root, filepath.Join(r.root, peerDir, "apply"), tree); err != nil {
		return fmt.Errorf("add the benchmark's driver: %w", err)
	}
	// What is stored under a hash has to be what the hash says.
	if now, err := hashPatch(r.root); err != nil || now != r.patch {
		return errors.Join(errors.New("kernel-patch changed while it was applied; build once more"), err)
	}
	return nil
}

// keepTimes gives the patched files in fresh the time of those in old that are equal. It fails if the patch has written through
// a link into source, after began.
func keepTimes(source, fresh, old string, began time.Time) error {
	return filepath.WalkDir(fresh, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		relative, err := filepath.Rel(fresh, path)
		if err != nil {
			return err
		}
		var here, there unix.Stat_t
		if err := unix.Lstat(path, &here); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if here.Nlink > 1 {
			// Linked to source, where everything has the time that the archive says. The clock of files lags behind by a tick.
			if modified := time.Unix(here.Mtim.Unix()); modified.After(began.Add(-time.Second)) {
				err := os.Remove(filepath.Join(source, stampName)) // unpack it again
				return errors.Join(fmt.Errorf("the patch writes into %s in place; it has to replace the file", relative), err)
			}
			return nil
		}
		if err := unix.Lstat(filepath.Join(old, relative), &there); err != nil {
			return nil // it is new
		}
		equal, err := sameContent(path, filepath.Join(old, relative))
		if err != nil || !equal {
			return err
		}
		return os.Chtimes(path, time.Time{}, time.Unix(there.Mtim.Unix()))
	})
}

func sameContent(a, b string) (bool, error) {
	textA, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	textB, err := os.ReadFile(b)
	return bytes.Equal(textA, textB), err
}

// stamp marks a tree as complete.
func stamp(tree, text string) error {
	return os.WriteFile(filepath.Join(tree, stampName), []byte(text+"\n"), 0o644)
}

func stamped(tree, text string) bool {
	have, err := os.ReadFile(filepath.Join(tree, stampName))
	return err == nil && strings.TrimSpace(string(have)) == text
}
