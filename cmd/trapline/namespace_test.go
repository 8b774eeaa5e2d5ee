// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPIDNamespace checks that in a PID namespace, as a container has one, events and predicates have its numbers.
func TestPIDNamespace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events")
	cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "trapline", "trace", "--json", "--events", "-o", file,
		"syscall:getpid shown=$pid thread=$tid if $pid < 1000", "--", "python3", "-S", "-c", "import os; print(os.getpid())")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(out))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(pid) > 3 {
		t.Fatalf("pid %s in a new namespace", pid)
	}
	for _, want := range []string{
		fmt.Sprintf(`"pid":%s,"tid":%s,`, pid, pid),
		fmt.Sprintf(`"shown":%s,"thread":%s`, pid, pid),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
}
