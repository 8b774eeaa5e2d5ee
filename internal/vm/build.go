// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// crossCompile is the prefix of the compiler's and linker's names (Debian's gcc-riscv64-linux-gnu).
const crossCompile = "riscv64-linux-gnu-"

// keptBuilds is how many builds of a configuration stay in the cache: this one, and those of other checkouts.
const keptBuilds = 3

// logTail is how many lines of a build's log an error quotes.
const logTail = 40

// BuildConfig says which kernel BuiltKernel builds.
type BuildConfig struct {
	// Series is that of Debian's source package linux-source-SERIES; "" is "6.12". BuiltSeries lists them.
	Series string
	// Config is a file of kernel-patch/linux/configs without its suffix, for example "kprobes", "debug" or "preempt"; it is
	// added to "small", which "" is.
	Config string
	// Unpatched leaves the kernel as it comes.
	Unpatched bool
	// Logger gets what takes long. Nil is silent.
	Logger *slog.Logger
}

func (c *BuildConfig) series() string { return cmp.Or(c.Series, "6.12") }
func (c *BuildConfig) config() string { return cmp.Or(c.Config, "small") }

// name is that of the build among the series'.
func (c *BuildConfig) name() string {
	if c.Unpatched {
		return c.config() + "-unpatched"
	}
	return c.config()
}

func (c *BuildConfig) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// BuiltSeries are the series that BuiltKernel knows, oldest first.
func BuiltSeries() []string { return []string{"6.1", "6.12"} }

// BuiltKernel returns a kernel for RISC-V guests, built here from Debian's source package with Trapline's patch.
//
// It stays in the user's cache (trapline/guests/kernels/riscv64-SERIES/built), under a hash of everything that it was made of,
// and is taken from there the next time. A first build takes minutes; after a change of the patch only what the change touches is
// compiled. What is missing on this machine is an error that names the package. Safe for several processes at once.
//
// Kernel.Boot holds Image, vmlinux, System.map, config, and in source the version of the source package.
func BuiltKernel(ctx context.Context, config BuildConfig) (Kernel, error) {
	kernel, err := builtKernel(ctx, config)
	if err != nil {
		return Kernel{}, fmt.Errorf("vm: build of kernel riscv64 %s %s: %w", config.series(), config.name(), err)
	}
	return kernel, nil
}

func builtKernel(ctx context.Context, config BuildConfig) (Kernel, error) {
	if !slices.Contains(BuiltSeries(), config.series()) {
		return Kernel{}, fmt.Errorf("no such series; there is %s", strings.Join(BuiltSeries(), ", "))
	}
	recipe, err := newRecipe(ctx, config)
	if err != nil {
		return Kernel{}, err
	}
	dir, err := cacheDir("kernels", "riscv64-"+config.series())
	if err != nil {
		return Kernel{}, err
	}
	built := filepath.Join(dir, builtName, config.name()+"-"+recipe.hash)
	if kernel, err := readBuilt(config, built); err == nil {
		return kernel, nil
	}
	work := filepath.Join(dir, config.name())
	if err := os.MkdirAll(work, 0o755); err != nil {
		return Kernel{}, err
	}
	config.logger().Info("a kernel has to be built, after another one with the same name if one is under way", "directory", work)
	unlock, err := lock(ctx, filepath.Join(work, "lock"))
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	// Meanwhile the files may have changed, or another process has built what we want.
	if recipe, err = newRecipe(ctx, config); err != nil {
		return Kernel{}, err
	}
	built = filepath.Join(dir, builtName, config.name()+"-"+recipe.hash)
	if kernel, err := readBuilt(config, built); err == nil {
		return kernel, nil
	}
	if config.config() != "small" {
		// Larger ones take turns: together they would take longer, and they find in ccache what the one before has compiled.
		// The small one, which most tests wait for, waits for none.
		unlock, err := lock(ctx, filepath.Join(filepath.Dir(dir), "riscv64.lock"))
		if err != nil {
			return Kernel{}, err
		}
		defer unlock()
	}
	if err := recipe.build(ctx, dir, work, built); err != nil {
		return Kernel{}, err
	}
	return readBuilt(config, built)
}

// readBuilt describes a finished build, and marks it as used.
func readBuilt(config BuildConfig, dir string) (Kernel, error) {
	release, err := os.ReadFile(filepath.Join(dir, "release"))
	if err != nil {
		return Kernel{}, err
	}
	now := time.Now()
	if err := os.Chtimes(dir, now, now); err != nil {
		return Kernel{}, err
	}
	return Kernel{
		Series: config.series(), Config: config.name(), GOARCH: "riscv64", Release: strings.TrimSpace(string(release)),
		Image: filepath.Join(dir, "Image"), Boot: dir,
	}, nil
}

// build makes the kernel in work, below the series' directory, and leaves the result at built.
func (r *recipe) build(ctx context.Context, series, work, built string) error {
	began := time.Now()
	logPath := filepath.Join(work, "log")
	log := r.config.logger()
	log.Info("building a kernel", "series", r.config.series(), "config", r.config.name(), "log", logPath)
	source, err := r.sourceTree(ctx, series, work)
	if err != nil {
		return err
	}
	logFile, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer logFile.Close()
	m := maker{source: source, out: filepath.Join(work, buildName), base: series, log: logFile, patient: r.config.config() != "small"}
	if err := os.MkdirAll(m.out, 0o755); err != nil {
		return err
	}
	if err := m.configure(ctx, r.options); err != nil {
		return quoteLog(err, logPath)
	}
	if err := m.make(ctx, "Image"); err != nil {
		return quoteLog(err, logPath)
	}
	if err := r.keep(m.out, built); err != nil {
		return err
	}
	log.Info("built a kernel", "series", r.config.series(), "config", r.config.name(), "took", time.Since(began).Round(time.Second))
	return prune(filepath.Dir(built), r.config.name()+"-", keptBuilds)
}

// maker runs the kernel's make.
type maker struct {
	source, out string
	base        string // of both
	log         *os.File
	patient     bool // gives way to what else runs
}

// configure writes .config, and checks that every option took effect: Kconfig drops without a word what depends on something
// that is missing.
func (m *maker) configure(ctx context.Context, options options) error {
	wanted := filepath.Join(m.out, "wanted.config")
	if err := os.WriteFile(wanted, options.text(), 0o644); err != nil {
		return err
	}
	if err := m.make(ctx, "KCONFIG_ALLCONFIG="+wanted, "allnoconfig"); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(m.out, ".config"))
	if err != nil {
		return err
	}
	if missing := options.missing(text); len(missing) > 0 {
		return fmt.Errorf("the configuration has no effect in %s; what does it depend on in this series?", strings.Join(missing, ", "))
	}
	return nil
}

// make runs make with arguments. Everything that would get into the image from outside is pinned, so the same source gives the
// same image.
func (m *maker) make(ctx context.Context, args ...string) error {
	compiler := crossCompile + "gcc"
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C"}
	if _, err := exec.LookPath("ccache"); err == nil {
		base, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		compiler = "ccache " + compiler
		env = append(env, "CCACHE_DIR="+filepath.Join(base, "trapline", "ccache"), "CCACHE_MAXSIZE=4G", "CCACHE_BASEDIR="+m.base,
			// Headers are made anew by each configuration and unpacked a moment before they are used.
			"CCACHE_SLOPPINESS=include_file_ctime,include_file_mtime,time_macros")
	}
	nice := "0"
	if m.patient {
		nice = "10"
	}
	args = append([]string{
		"-n", nice, "make", "-C", m.source, "O=" + m.out, fmt.Sprintf("-j%d", runtime.NumCPU()), "--no-print-directory",
		"ARCH=riscv", "CROSS_COMPILE=" + crossCompile, "CC=" + compiler,
		"KBUILD_BUILD_TIMESTAMP=2024-01-01", "KBUILD_BUILD_VERSION=1", "KBUILD_BUILD_USER=trapline", "KBUILD_BUILD_HOST=trapline",
	}, args...)
	cmd := exec.CommandContext(ctx, "nice", args...)
	cmd.Env = env // and no MAKEFLAGS of a make that runs us
	cmd.Stdout, cmd.Stderr = m.log, m.log
	child, err := startChild(cmd)
	if err != nil {
		return err
	}
	select {
	case <-child.done:
	case <-ctx.Done():
		child.killGroup()
		return ctx.Err()
	}
	if child.err != nil {
		return fmt.Errorf("make %s: %w", args[len(args)-1], child.err)
	}
	return nil
}

// keep copies what is wanted of a build to a directory of its own, which appears whole or not at all.
func (r *recipe) keep(out, built string) error {
	if err := os.MkdirAll(filepath.Dir(built), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(built), "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for from, to := range map[string]string{
		"arch/riscv/boot/Image": "Image", "vmlinux": "vmlinux", "System.map": "System.map", ".config": "config",
		"include/config/kernel.release": "release",
	} {
		text, err := os.ReadFile(filepath.Join(out, from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, to), text, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(work, "source"), []byte(r.version+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	return os.Rename(work, built)
}

// prune removes all but the newest directories whose names begin with prefix and go on with a hash.
func prune(dir, prefix string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var found []fs.FileInfo
	for _, entry := range entries {
		rest, ours := strings.CutPrefix(entry.Name(), prefix)
		if !ours || strings.Contains(rest, "-") {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		found = append(found, info)
	}
	slices.SortFunc(found, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, info := range found[min(keep, len(found)):] {
		if err := os.RemoveAll(filepath.Join(dir, info.Name())); err != nil {
			return err
		}
	}
	return nil
}

// quoteLog adds the end of a build's log to an error.
func quoteLog(err error, path string) error {
	text, readErr := os.ReadFile(path)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	lines = lines[max(0, len(lines)-logTail):]
	return fmt.Errorf("%w; the end of %s:\n\t%s", err, path, strings.Join(lines, "\n\t"))
}
