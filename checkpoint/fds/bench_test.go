// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"testing"

	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
)

// BenchmarkCollect dumps a table of a thousand regular files.
func BenchmarkCollect(b *testing.B) {
	x := start(b, "many")
	defer cpuTime(b)()
	for b.Loop() {
		w, err := image.Create(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		c := NewCollector(w, nil)
		if _, err := c.Collect(x.task); err != nil {
			b.Fatal(err)
		}
		if err := c.Finish(); err != nil {
			b.Fatal(err)
		}
		c.Close()
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a thousand regular files from images.
func BenchmarkOpen(b *testing.B) {
	x := start(b, "many")
	dir, err := x.dump(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer cpuTime(b)()
	for b.Loop() {
		s, _, err := load(b, dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime reports the processor time of the calls, which other work on the machine does not change as much as the time.
func cpuTime(b *testing.B) func() {
	used := func() int64 {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return unix.TimevalToNsec(r.Utime) + unix.TimevalToNsec(r.Stime)
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}
