// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed target/target.c
var targetSource []byte

// buildTarget compiles the target, unless the cache has this very source already, and gives the program's path.
func buildTarget() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "trapline")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	program := filepath.Join(dir, fmt.Sprintf("bench-target-%x", sha256.Sum256(targetSource)))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	source := program + ".c"
	if err := os.WriteFile(source, targetSource, 0o644); err != nil {
		return "", err
	}
	// Written under another name first: two benchmarks may be started at a time.
	unfinished := fmt.Sprintf("%s.%d", program, os.Getpid())
	if out, err := exec.Command("gcc", "-O2", "-static", "-pthread", "-o", unfinished, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the target: %w\n%s", err, out)
	}
	return program, os.Rename(unfinished, program)
}
