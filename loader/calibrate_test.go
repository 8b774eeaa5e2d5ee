// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"

	"github.com/trapline/trapline/probes"
)

func TestCost(t *testing.T) {
	var specs []*probes.Spec
	for _, text := range []string{"syscall:read%latency", "uprobe:libc:malloc%latency", "vfs_read%latency", "kprobe:vfs_write%latency"} {
		s, err := probes.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, s)
	}
	s, err := Open(t.Context(), specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Log(s.Warnings())
	for k, c := range s.backend.(*ebpfBackend).costs {
		t.Logf("%v %+v", k, c)
	}
}
