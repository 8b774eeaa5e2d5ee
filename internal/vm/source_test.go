// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trapline/trapline/internal/vm"
)

func TestOptions(t *testing.T) {
	options := vm.Options{}
	options.Add([]byte("# A comment.\nCONFIG_A=y\nCONFIG_B=\"b=c\"\n# CONFIG_C is not set\n# CONFIG_D is not set\n\nCONFIG_E=y\n"))
	options.Add([]byte("CONFIG_D=y\n# CONFIG_E is not set\n"))
	want := "# CONFIG_C is not set\n# CONFIG_E is not set\nCONFIG_A=y\nCONFIG_B=\"b=c\"\nCONFIG_D=y\n"
	if got := string(options.Text()); got != want {
		t.Errorf("merged: %q, want %q", got, want)
	}
	if missing := options.Missing([]byte("CONFIG_A=y\nCONFIG_B=\"b=c\"\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_F=y\n")); missing != nil {
		t.Errorf("everything has taken effect, but %v", missing)
	}
	missing := options.Missing([]byte("CONFIG_A=m\nCONFIG_B=\"b=c\"\nCONFIG_E=y\n"))
	if want := []string{"CONFIG_A=y", "CONFIG_D=y", "CONFIG_E=n"}; !slices.Equal(missing, want) {
		t.Errorf("without effect: %v, want %v", missing, want)
	}
}

// write makes a file of that time, with the directories above it.
func write(t *testing.T, path, text string, modified time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		t.Fatal(err)
	}
}

// TestKeepTimes: of a tree patched anew only what differs from the last one looks new to make.
func TestKeepTimes(t *testing.T) {
	dir := t.TempDir()
	source, fresh, old := filepath.Join(dir, "source"), filepath.Join(dir, "fresh"), filepath.Join(dir, "old")
	released, last, now := time.Unix(1_000_000, 0), time.Unix(2_000_000, 0), time.Now()
	write(t, source+"/mm/linked.c", "linked", released)
	write(t, source+"/.trapline-stamp", "1", released)
	write(t, old+"/hook.c", "hook", last)
	write(t, old+"/engine.c", "before", last)
	write(t, fresh+"/hook.c", "hook", now)
	write(t, fresh+"/engine.c", "after", now)
	write(t, fresh+"/new.c", "new", now)
	if err := os.Mkdir(fresh+"/mm", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(source+"/mm/linked.c", fresh+"/mm/linked.c"); err != nil {
		t.Fatal(err)
	}
	if err := vm.KeepTimes(source, fresh, old, now); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]time.Time{"hook.c": last, "engine.c": now, "new.c": now, "mm/linked.c": released} {
		info, err := os.Stat(filepath.Join(fresh, name))
		if err != nil || !info.ModTime().Equal(want) {
			t.Errorf("%s: time %v, %v; want %v", name, info.ModTime(), err, want)
		}
	}
	// A patch that writes through the link has spoiled the source as Debian has it: it is unpacked again.
	write(t, fresh+"/mm/linked.c", "changed in place", time.Now())
	if err := vm.KeepTimes(source, fresh, old, now); err == nil || !strings.Contains(err.Error(), "mm/linked.c") {
		t.Errorf("a source file was written in place: %v", err)
	}
	if _, err := os.Stat(source + "/.trapline-stamp"); err == nil {
		t.Error("the spoilt source still counts as whole")
	}
}

// TestPrune: of each configuration the newest builds stay, and those of others are left alone.
func TestPrune(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"small-1", "small-2", "small-3", "small-4", "small-unpatched-1", "debug-1"} {
		write(t, filepath.Join(dir, name, "Image"), "", time.Now())
		modified := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(filepath.Join(dir, name), modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	if err := vm.Prune(dir, "small-", 2); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if want := []string{"debug-1", "small-3", "small-4", "small-unpatched-1"}; !slices.Equal(left, want) {
		t.Errorf("left: %v, want %v", left, want)
	}
}

// TestQuoteLog: the error of a build has the end of its log, which says why.
func TestQuoteLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, path, "first\n"+strings.Repeat("CC a.o\n", 100)+"a.c:1: error: why\n", time.Now())
	failed := errors.New("make failed")
	err := vm.QuoteLog(failed, path)
	if !errors.Is(err, failed) || !strings.HasSuffix(err.Error(), "a.c:1: error: why") || strings.Contains(err.Error(), "first") {
		t.Errorf("error: %v", err)
	}
}
