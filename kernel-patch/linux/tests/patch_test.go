// SPDX-License-Identifier: Apache-2.0

// Package tests checks the Linux port as a patch: that it fits the kernels it is for, reads as the kernel wants its code to be,
// and changes nothing where it is not configured. What it does in a running kernel is tested by loader and internal/vm.
package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// series are those that there are hooks for, each with Debian's source package.
var series = []string{"6.1", "6.12"}

// here is kernel-patch/linux.
func here(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a command and gives its standard output.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := try(t.Context(), dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	if err := cmd.Run(); err != nil {
		return out.String(), errors.Join(err, errors.New(strings.Join(args, " ")+": "+diagnostics.String()+out.String()))
	}
	return out.String(), nil
}

// sources unpacks, once, what the tests here look at of a kernel's source.
var sources = map[string]func() (string, error){}

func TestMain(m *testing.M) {
	for _, series := range series {
		sources[series] = sync.OnceValues(func() (string, error) { return unpack(series) })
	}
	status := m.Run()
	for _, dir := range unpacked {
		os.RemoveAll(dir)
	}
	os.Exit(status)
}

var (
	unpackedLock sync.Mutex
	unpacked     []string
)

// unpack unpacks Debian's source package of a series, without the drivers and architectures that no test here compiles.
func unpack(series string) (string, error) {
	archive := "/usr/src/linux-source-" + series + ".tar.xz"
	if _, err := os.Stat(archive); err != nil {
		return "", fmt.Errorf("Debian's linux-source-%s is not installed: %w", series, err)
	}
	dir, err := os.MkdirTemp("", "trapline-linux-"+series+"-")
	if err != nil {
		return "", err
	}
	unpackedLock.Lock()
	unpacked = append(unpacked, dir)
	unpackedLock.Unlock()
	_, err = try(context.Background(), dir, "tar", "-xf", archive, "--strip-components=1", "--no-same-owner",
		"--exclude=*/drivers/gpu/drm/amd/include", "--exclude=*/Documentation/*/*", "--exclude=*/tools/testing")
	return dir, err
}

// source is the tree of a series, which nobody may change.
func source(t *testing.T, series string) string {
	t.Helper()
	dir, err := sources[series]()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// hooked are the existing files that the hooks of a series change.
func hooked(t *testing.T, series string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(here(t), "hooks-"+series+".patch"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, match := range regexp.MustCompile(`(?m)^--- a/(\S+)`).FindAllStringSubmatch(string(text), -1) {
		files = append(files, match[1])
	}
	return files
}

// tree is a source tree with just what the hooks change.
func tree(t *testing.T, series string) string {
	t.Helper()
	from, dir := source(t, series), t.TempDir()
	run(t, from, append(append([]string{"cp", "--parents", "-t", dir}, hooked(t, series)...), "Makefile")...)
	return dir
}

// contents are the files below a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestPatchIsApply checks that the printed patch makes of a tree what apply makes of it.
func TestPatchIsApply(t *testing.T) {
	for _, series := range series {
		t.Run(series, func(t *testing.T) {
			t.Parallel()
			applied, patched := tree(t, series), tree(t, series)
			run(t, applied, filepath.Join(here(t), "apply"), applied)
			patch := run(t, patched, filepath.Join(here(t), "patch"), source(t, series))
			file := filepath.Join(t.TempDir(), "whole.patch")
			if err := os.WriteFile(file, []byte(patch), 0o644); err != nil {
				t.Fatal(err)
			}
			run(t, patched, "patch", "-p1", "-F0", "-s", "-i", file)
			want, got := contents(t, applied), contents(t, patched)
			if len(want) < 30 {
				t.Errorf("apply made a tree of only %d files", len(want))
			}
			for name := range want {
				if want[name] != got[name] {
					t.Errorf("%s: the patch makes something else of it than apply", name)
				}
			}
			for name := range got {
				if _, found := want[name]; !found {
					t.Errorf("%s: only the patch has it", name)
				}
			}
		})
	}
}

// TestApplyRefuses checks that apply says what is wrong and leaves the tree alone.
func TestApplyRefuses(t *testing.T) {
	apply := filepath.Join(here(t), "apply")
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"no tree": {func(t *testing.T, dir string) { remove(t, dir, "Makefile") }, "no kernel source tree"},
		"another version": {func(t *testing.T, dir string) {
			write(t, dir, "Makefile", "VERSION = 4\nPATCHLEVEL = 19\n")
		}, "is Linux 4.19: there are hooks for 6.1 6.12 only"},
		"twice": {func(t *testing.T, dir string) {
			run(t, dir, apply, dir)
		}, "has arch/riscv/trapline already"},
		"other text": {func(t *testing.T, dir string) {
			write(t, dir, "arch/riscv/kernel/process.c", "int process;\n")
		}, "does not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, "6.12")
			test.spoil(t, dir)
			before := contents(t, dir)
			_, err := try(t.Context(), dir, apply, dir)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("apply: %v; the error should say %q", err, test.want)
			}
			after := contents(t, dir)
			for name := range after {
				if before[name] != after[name] {
					t.Errorf("%s: changed by an apply that failed", name)
				}
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// notOurs are checks of a patch as a letter to the kernel's maintainers, which this is not.
var notOurs = []string{"FILE_PATH_CHANGES", "MISSING_SIGN_OFF", "COMMIT_MESSAGE"}

// TestCheckpatch runs each kernel's own check of style over the whole patch.
func TestCheckpatch(t *testing.T) {
	for _, series := range series {
		t.Run(series, func(t *testing.T) {
			t.Parallel()
			dir := source(t, series)
			patch := run(t, dir, filepath.Join(here(t), "patch"), dir)
			file := filepath.Join(t.TempDir(), "whole.patch")
			if err := os.WriteFile(file, []byte(patch), 0o644); err != nil {
				t.Fatal(err)
			}
			out, err := try(t.Context(), dir, "perl", "scripts/checkpatch.pl", "--strict", "--no-tree", "--no-signoff", "--terse",
				"--show-types", "--ignore", strings.Join(notOurs, ","), file)
			if err != nil {
				t.Errorf("checkpatch is not content:\n%s%v", out, err)
			}
		})
	}
}

// TestHooksAreFew keeps what existing files see of us small, and in the architecture.
func TestHooksAreFew(t *testing.T) {
	for _, series := range series {
		text, err := os.ReadFile(filepath.Join(here(t), "hooks-"+series+".patch"))
		if err != nil {
			t.Fatal(err)
		}
		added := len(regexp.MustCompile(`(?m)^\+[^+]`).FindAllIndex(text, -1))
		if removed := len(regexp.MustCompile(`(?m)^-[^-]`).FindAllIndex(text, -1)); removed > 0 || added > 50 {
			t.Errorf("hooks-%s.patch adds %d lines and removes %d; at most 50 and none", series, added, removed)
		}
		for _, name := range hooked(t, series) {
			if !strings.HasPrefix(name, "arch/riscv/") && !slices.Contains([]string{"mm/Makefile", "drivers/Makefile"}, name) {
				t.Errorf("hooks-%s.patch changes %s, which other architectures share", series, name)
			}
		}
	}
}
