// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"testing"

	"github.com/trapline/trapline/checkpoint/image"
)

// BenchmarkCollect dumps a table of a thousand regular files.
func BenchmarkCollect(b *testing.B) {
	x := start(b, "many")
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
