// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/vm"
)

// roleVariable makes this program something else than tests: a process that the tests start.
const roleVariable = "TRAPLINE_FAULTS_ROLE"

// roles are what it can be. Each returns the exit status.
var roles = map[string]func() int{}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(roles[role]())
	}
	if _, yes := vm.InGuest(); !yes {
		fmt.Fprintln(os.Stderr, "these tests may kill the kernel: run them in a guest, by go test -run TestGuest on another architecture")
		os.Exit(1)
	}
	// A thousand probes are a thousand descriptors.
	limit := unix.Rlimit{Cur: 8192, Max: 8192}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Fprintln(os.Stderr, "raise the limit of descriptors:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// stress is how long a test without an end of its own takes; 0 in the short form.
func stress(t *testing.T) time.Duration {
	text := os.Getenv("TRAPLINE_STRESS")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("TRAPLINE_STRESS: %v", err)
	}
	return d
}

// seed is that of all random choices.
func seed(t *testing.T) uint64 {
	value := uint64(time.Now().UnixNano()) % 1e9
	if text := os.Getenv("TRAPLINE_SEED"); text != "" {
		var err error
		if value, err = strconv.ParseUint(text, 0, 64); err != nil {
			t.Fatalf("TRAPLINE_SEED: %v", err)
		}
	}
	t.Logf("TRAPLINE_SEED=%d", value)
	notebook(t, "seed")(fmt.Sprintf("TRAPLINE_SEED=%d in %s", value, t.Name()))
	return value
}

// notebook gives a function that keeps a text where it outlives this kernel. The last one of a name counts.
func notebook(t *testing.T, name string) func(text string) {
	t.Helper()
	dir := os.Getenv("TRAPLINE_NOTES")
	if dir == "" {
		return func(string) {}
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func(text string) {
		// Always as long: a shorter note must not leave the end of the one before.
		if _, err := f.WriteAt(fmt.Appendf(nil, "%-200s\n", text), 0); err != nil {
			t.Errorf("keep a note: %v", err)
		}
	}
}
