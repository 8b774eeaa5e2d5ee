// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"os/exec"
	"testing"

	"github.com/trapline/trapline/probes"
)

func parse(t *testing.T, texts ...string) []*probes.Spec {
	t.Helper()
	var specs []*probes.Spec
	for _, text := range texts {
		s, err := probes.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, s)
	}
	return specs
}

func TestQuick(t *testing.T) {
	for _, set := range [][]string{
		{"syscall:openat", "syscall:read", "syscall:exit_group", "syscall:execve", "uprobe:/bin/dash:*%latency"},
		{"tracepoint:sched:sched_process_exec", "rawtp:sched_process_exec"},
		{"uprobe:libc:malloc%latency"},
		{"vfs_read", "vfs_write%entry", "vfs_open%return", "kprobe:vfs_statx%latency"},
		{"vfs_*"},
	} {
		s, err := Open(t.Context(), parse(t, set...), &Options{Filter: true, CPUTime: true})
		if err != nil {
			t.Log(err)
			continue
		}
		for _, w := range s.Warnings() {
			t.Log("warning", w)
		}
		s.Enable()
		cmd := exec.Command("/bin/dash", "-c", "cat /etc/passwd >/dev/null")
		if err := s.Launch(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Read(nil) {
			if r.Stats.Count > 0 || r.Losses != (probes.Losses{}) {
				t.Logf("%-40s %-14s n=%d total=%d cpu=%d min=%d max=%d err=%d nested=%d %+v", r.Probe.Name, r.Probe.Mechanism, r.Stats.Count, r.Stats.Total, r.Stats.CPU, r.Stats.Min, r.Stats.Max, r.Stats.Errors, r.Stats.Nested, r.Losses)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
