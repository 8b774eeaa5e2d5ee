// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"testing"

	"github.com/trapline/trapline/checkpoint/memory"
)

// countingWriter takes pages and keeps none.
type countingWriter struct{ written int64 }

func (w *countingWriter) Add(r memory.Run) error {
	w.written += int64(r.End - r.Start)
	return nil
}
func (w *countingWriter) Flush() error         { return nil }
func (w *countingWriter) Bytes(b []byte) error { w.written += int64(len(b)); return nil }
func (w *countingWriter) Written() int64       { return w.written }

// TestProgressSteps writes 1 GiB in one run: progress must show in between.
func TestProgressSteps(t *testing.T) {
	const size = 1 << 30
	var last, steps int64
	d := &dumper{ctx: context.Background(), memTotal: size}
	d.opts = &DumpOptions{Progress: func(done, total int64) {
		if done-last > progressBytes || total != size {
			t.Errorf("from %d to %d of %d bytes in one step", last, done, total)
		}
		last = done
		steps++
	}}
	p := pageDump{d: d, w: &countingWriter{}}
	if err := p.own(memory.Run{Start: 1 << 32, End: 1<<32 + size}); err != nil {
		t.Fatal(err)
	}
	if last != size || steps < size/progressBytes {
		t.Errorf("%d steps to %d bytes", steps, last)
	}
	if p.pages != size/int64(memory.PageSize) {
		t.Errorf("%d pages", p.pages)
	}
}
