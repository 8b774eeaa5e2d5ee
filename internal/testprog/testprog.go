// SPDX-License-Identifier: Apache-2.0

// Package testprog is the test bed of the checkpoint engine: programs that know what they should look like, and what
// starts, dumps, restores and questions them.
//
// A target is a small C program (directory c) or a real one. It talks to its test through two named FIFOs in its
// working directory, neither of which it holds open while it is dumped:
//
//	cmd   the target opens it for reading and blocks there; the test writes one word, "check"
//	out   the test holds it open; the target writes "ready", then lines "FAIL: what was expected, what was seen",
//	      then "ok" or "failed"
//
// So a program that tests, say, POSIX timers needs nothing of the engine but POSIX timers, one regular file (its log)
// and a thread that blocks in openat.
//
// Tests run in PID, mount, IPC and network namespaces of their own, below an init that reaps at once (see Main).
package testprog

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

//go:embed c/*.c c/*.h c/*.cc
var sources embed.FS

//go:embed script/*
var scripts embed.FS

// Script returns the text of a program in directory script (Python, Perl, JavaScript, shell, Go).
func Script(name string) (string, error) {
	b, err := scripts.ReadFile("script/" + name)
	if err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	return string(b), nil
}

// built holds the programs by name, so that parallel tests compile each once.
var built sync.Map // name → *program

type program struct {
	mu   sync.Mutex
	path string
}

// Build compiles the C program c/NAME.c (or the C++ program c/NAME.cc) unless its binary is in the cache, and returns
// the path of a copy that every uid can execute. Safe for concurrent use, also by several test processes.
//
// A source file names what its compiler needs beyond the usual flags in a line "// flags: …".
func Build(name string) (string, error) {
	entry, _ := built.LoadOrStore(name, &program{})
	p := entry.(*program)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := os.Stat(p.path); p.path != "" && err == nil {
		return p.path, nil
	}
	// It is needed for the first time, or its last user has removed it.
	path, err := build(name)
	p.path = path
	return path, err
}

func build(name string) (string, error) {
	cached, err := compile(name, runtime.GOARCH)
	if err != nil {
		return "", err
	}
	// A target of another uid can't execute what is below root's home.
	dir, err := os.MkdirTemp("", "prog-")
	if err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	code, err := os.ReadFile(cached)
	if err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, code, 0o755); err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	return path, nil
}

// Programs returns the names of all programs in directory c that are for an architecture: without those that say "// only: OTHER",
// and without C++ where there is no compiler for it.
func Programs(goarch string) ([]string, error) {
	entries, err := sources.ReadDir("c")
	if err != nil {
		return nil, fmt.Errorf("testprog: %w", err)
	}
	var names []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), ext)
		if ext == ".h" || strings.HasSuffix(name, "_riscv64") || ext == ".cc" && goarch != runtime.GOARCH {
			continue
		}
		src, err := sources.ReadFile("c/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("testprog: %w", err)
		}
		if only, found := directive(string(src), "only"); !found || only == goarch {
			names = append(names, name)
		}
	}
	return names, nil
}

// BuildFor compiles a C program for another architecture and returns its path in the cache.
func BuildFor(goarch, name string) (string, error) { return compile(name, goarch) }

// Prepare compiles programs for a guest of another architecture, which shares this machine's cache but has no compiler: Build
// finds them there.
func Prepare(goarch string, names ...string) error {
	for _, name := range names {
		if _, err := compile(name, goarch); err != nil {
			return err
		}
	}
	return nil
}

// directive returns the rest of the first line "// NAME: …" of a source.
func directive(src, name string) (rest string, found bool) {
	for line := range strings.Lines(src) {
		if rest, found = strings.CutPrefix(line, "// "+name+":"); found {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}

// compile returns the binary in the cache. For another architecture than x86-64 it is a static one: its guests have no libraries.
func compile(name, goarch string) (string, error) {
	prefix, more := "", []string(nil)
	if goarch == "riscv64" {
		prefix, more = "riscv64-linux-gnu-", []string{"-static"}
	}
	// A program of assembly has a file for each architecture.
	compiler, file := prefix+"gcc", name+"_"+goarch+".c"
	src, err := sources.ReadFile("c/" + file)
	if err != nil {
		file = name + ".c"
		src, err = sources.ReadFile("c/" + file)
	}
	if err != nil {
		compiler, file = prefix+"g++", name+".cc"
		if src, err = sources.ReadFile("c/" + file); err != nil {
			return "", fmt.Errorf("testprog: no C or C++ program %q", name)
		}
	}
	header, err := sources.ReadFile("c/trapline_test.h")
	if err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	flags := []string{"-O1", "-g", "-Wall", "-Werror", "-pthread", "-D_GNU_SOURCE"}
	flags = append(flags, more...)
	for line := range strings.Lines(string(src)) {
		if rest, ok := strings.CutPrefix(line, "// flags:"); ok {
			flags = append(flags, strings.Fields(rest)...)
		}
	}

	sum := sha256.New()
	fmt.Fprintln(sum, compiler, flags)
	sum.Write(header)
	sum.Write(src)
	dir, err := cacheDir("testprog", hex.EncodeToString(sum.Sum(nil))[:24])
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, name)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}

	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	defer os.RemoveAll(tmp)
	for n, b := range map[string][]byte{file: src, "trapline_test.h": header} {
		if err := os.WriteFile(filepath.Join(tmp, n), b, 0o600); err != nil {
			return "", fmt.Errorf("testprog: %w", err)
		}
	}
	var args, libs []string
	for _, f := range flags {
		if strings.HasPrefix(f, "-l") {
			libs = append(libs, f)
		} else {
			args = append(args, f)
		}
	}
	cmd := exec.Command(compiler, append(append(args, "-o", name, file), libs...)...)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("testprog: %s %s: %w\n%s", compiler, file, err, out)
	}
	// A rename is atomic: another process that builds the same gets one whole binary or the other.
	if err := os.Rename(filepath.Join(tmp, name), binary); err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	return binary, nil
}

// cacheDir makes and returns a directory below the user's cache directory.
func cacheDir(elem ...string) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	dir := filepath.Join(append([]string{base, "trapline"}, elem...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("testprog: %w", err)
	}
	return dir, nil
}
