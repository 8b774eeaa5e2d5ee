// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"

	"github.com/trapline/trapline/loader/internal/spectest"
)

func TestCost(t *testing.T) {
	s, err := Open(t.Context(), spectest.Parse(t, "syscall:read%latency", "uprobe:libc:malloc%latency", "vfs_read%latency", "kprobe:vfs_write%latency"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Log(s.Warnings())
	for k, c := range s.backend.(*ebpfBackend).costs {
		t.Logf("%v %+v", k, c)
	}
}
