// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// recipe is everything that a kernel is made of.
type recipe struct {
	config  BuildConfig
	root    string // of this checkout
	archive string // of the source
	version string // of the source package
	options options
	patch   string // hash of the patch's files; "" without patch
	hash    string // of all of it
}

// newRecipe collects it. It takes some 20 ms, so that a finished build is found at once.
func newRecipe(ctx context.Context, config BuildConfig) (*recipe, error) {
	r := &recipe{config: config, archive: "/usr/src/linux-source-" + config.series() + ".tar.xz"}
	var err error
	if r.root, err = checkout(ctx); err != nil {
		return nil, err
	}
	compiler, err := r.tools(ctx)
	if err != nil {
		return nil, err
	}
	if r.options, err = readOptions(r.root, config); err != nil {
		return nil, err
	}
	if !config.Unpatched {
		if r.patch, err = hashPatch(r.root); err != nil {
			return nil, err
		}
	}
	hash := sha256.New()
	for _, part := range []string{r.version, compiler, string(r.options.text()), r.patch} {
		fmt.Fprintf(hash, "%d %s\n", len(part), part)
	}
	r.hash = hex.EncodeToString(hash.Sum(nil))[:16]
	return r, nil
}

// tools checks that what a build needs is installed. It sets the source's version and returns the compiler's.
func (r *recipe) tools(ctx context.Context) (string, error) {
	source := "linux-source-" + r.config.series()
	missing := []string{}
	if _, err := os.Stat(r.archive); err != nil {
		missing = append(missing, source)
	}
	for program, owner := range map[string]string{
		crossCompile + "gcc": "gcc-riscv64-linux-gnu", crossCompile + "ld": "binutils-riscv64-linux-gnu", "make": "make", "gcc": "gcc",
		"flex": "flex", "bison": "bison", "bc": "bc", "xz": "xz-utils",
	} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, owner)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return "", fmt.Errorf("this machine lacks Debian's %s; internal/ci/packages test installs them", strings.Join(missing, ", "))
	}
	version, err := hostRun(ctx, "", "dpkg-query", "-W", "-f", "${Version}", source)
	if err != nil {
		return "", err
	}
	r.version = source + " " + strings.TrimSpace(version)
	compiler, err := hostRun(ctx, "", crossCompile+"gcc", "--version")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(compiler, "\n")
	return first, nil
}

// checkout returns the directory of this module.
func checkout(ctx context.Context) (string, error) {
	module, err := hostRun(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	root := filepath.Dir(strings.TrimSpace(module))
	if _, err := os.Stat(filepath.Join(root, "kernel-patch")); err != nil {
		return "", fmt.Errorf("this has to run inside Trapline's checkout: %w", err)
	}
	return root, nil
}

// hashPatch hashes all that goes into a patched source tree, and the script that puts it there.
func hashPatch(root string) (string, error) {
	hash := sha256.New()
	for _, part := range []string{"kernel-patch/include", "kernel-patch/engine", "kernel-patch/linux", peerDir} {
		top := filepath.Join(root, part)
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := entry.Name()
			if entry.IsDir() {
				// Configurations are hashed by what they say, and tests are not in the kernel.
				if name == "tests" || name == "testdata" || path == filepath.Join(top, "configs") {
					return filepath.SkipDir
				}
				return nil
			}
			if suffix := filepath.Ext(name); suffix == ".go" || suffix == ".md" {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			fmt.Fprintf(hash, "%s %d\n", relative, len(text))
			hash.Write(text)
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("the patch: %w", err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// options are lines of a kernel's configuration by option, "CONFIG_SMP" → "y". "n" is one that must not be set.
type options map[string]string

// readOptions merges the fragments of a configuration; what comes later wins.
func readOptions(root string, config BuildConfig) (options, error) {
	dir := filepath.Join(root, "kernel-patch", "linux", "configs")
	names := []string{"small", "small-" + config.series()}
	if config.config() != "small" {
		names = append(names, config.config(), config.config()+"-"+config.series())
	}
	if !config.Unpatched {
		names = append(names, "trapline")
	}
	all := options{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name+".config"))
		if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, "-"+config.series()) {
			continue // nothing differs in this series
		}
		if err != nil {
			return nil, fmt.Errorf("no configuration %s: %w", name, err)
		}
		all.add(text)
	}
	return all, nil
}

// add takes the options of a fragment or a .config.
func (o options) add(text []byte) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, value, found := strings.Cut(line, "="); found && strings.HasPrefix(name, "CONFIG_") {
			o[name] = value
		} else if name, found := strings.CutSuffix(strings.TrimPrefix(line, "# "), " is not set"); found && strings.HasPrefix(line, "# CONFIG_") {
			o[name] = "n"
		}
	}
}

// text is the fragment for KCONFIG_ALLCONFIG, sorted.
func (o options) text() []byte {
	var b bytes.Buffer
	for _, line := range o.lines() {
		b.WriteString(line + "\n")
	}
	return b.Bytes()
}

func (o options) lines() []string {
	var lines []string
	for name, value := range o {
		if value == "n" {
			lines = append(lines, "# "+name+" is not set")
		} else {
			lines = append(lines, name+"="+value)
		}
	}
	slices.Sort(lines)
	return lines
}

// missing returns the lines that a finished .config does not have.
func (o options) missing(dotConfig []byte) []string {
	have := options{}
	have.add(dotConfig)
	var missing []string
	for name, value := range o {
		if have[name] == value || value == "n" && have[name] == "" {
			continue
		}
		missing = append(missing, name+"="+value)
	}
	slices.Sort(missing)
	return missing
}
