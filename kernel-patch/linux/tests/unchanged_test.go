// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// objects are what the hooked files are compiled to.
func objects(t *testing.T, series string) []string {
	t.Helper()
	var objects []string
	for _, file := range hooked(t, series) {
		switch filepath.Ext(file) {
		case ".c", ".S":
			objects = append(objects, strings.TrimSuffix(file, filepath.Ext(file))+".o")
		}
	}
	return objects
}

// build configures a tree without CONFIG_TRAPLINE, compiles the objects and gives them without what debuggers read.
func build(t *testing.T, tree, series string, objects []string) map[string][]byte {
	t.Helper()
	out := t.TempDir()
	var config []byte
	for _, name := range []string{"small", "small-" + series, "kprobes", "kprobes-" + series} {
		text, err := os.ReadFile(filepath.Join(here(t), "configs", name+".config"))
		if err != nil {
			if strings.Contains(name, "-") && os.IsNotExist(err) {
				continue // nothing differs in this series
			}
			t.Fatal(err)
		}
		config = append(config, text...)
	}
	wanted := filepath.Join(out, "wanted.config")
	if err := os.WriteFile(wanted, config, 0o644); err != nil {
		t.Fatal(err)
	}
	kernelMake := func(args ...string) {
		run(t, tree, append([]string{
			"make", "-s", "O=" + out, "ARCH=riscv", "CROSS_COMPILE=riscv64-linux-gnu-", "KBUILD_BUILD_TIMESTAMP=2024-01-01",
			"KBUILD_BUILD_USER=trapline", "KBUILD_BUILD_HOST=trapline", "KCONFIG_ALLCONFIG=" + wanted,
			"-j" + strconv.Itoa(runtime.NumCPU()),
		}, args...)...)
	}
	kernelMake("allnoconfig")
	kernelMake(objects...)
	built := map[string][]byte{}
	for _, object := range objects {
		path := filepath.Join(out, object)
		run(t, out, "riscv64-linux-gnu-strip", "--strip-debug", path)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		built[object] = text
	}
	return built
}

// TestUnchangedWithout checks that without CONFIG_TRAPLINE every changed file compiles to what it did before, to the byte: so
// no hook moves a line that a BUG or WARN tells of either.
func TestUnchangedWithout(t *testing.T) {
	for _, series := range series {
		t.Run(series, func(t *testing.T) {
			if testing.Short() && series != "6.12" {
				t.Skip("one series in the short run")
			}
			plain, patched := source(t, series), filepath.Join(t.TempDir(), "tree")
			run(t, plain, "cp", "-al", plain, patched)
			run(t, plain, filepath.Join(here(t), "apply"), patched)
			objects := objects(t, series)
			if len(objects) < 3 {
				t.Fatalf("only %v are hooked", objects)
			}
			want, got := build(t, plain, series, objects), build(t, patched, series, objects)
			for _, object := range objects {
				if !bytes.Equal(want[object], got[object]) {
					t.Errorf("%s: differs without CONFIG_TRAPLINE", object)
				}
			}
		})
	}
}
