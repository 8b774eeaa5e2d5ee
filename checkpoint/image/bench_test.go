// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"io"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"google.golang.org/protobuf/proto"
)

// BenchmarkThreads writes the core images of a process with 1,000 threads.
func BenchmarkThreads(b *testing.B) {
	r, err := Open("testdata/criu-4.1.1")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var core criu_core.CoreEntry
	if err := r.One("core-4103.img", &core); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		w, err := Create(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		for i := range 1000 {
			if err := w.Put(fmt.Sprintf("core-%d.img", i), &core); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Finish(testInventory()); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPages writes 256 MiB of memory with and without checksums taken meanwhile, and verifies it.
func BenchmarkPages(b *testing.B) {
	const size = 256 << 20
	block := make([]byte, BlockSize)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for _, ahead := range []bool{false, true} {
		b.Run(fmt.Sprintf("ahead=%v", ahead), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				w := writePages(b, b.TempDir(), block, size/BlockSize, ahead)
				b.StopTimer()
				if err := w.Abort(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
	b.Run("verify", func(b *testing.B) {
		dir := b.TempDir()
		if err := writePages(b, dir, block, size/BlockSize, true).Close(); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(size)
		for b.Loop() {
			if _, err := Verify(context.Background(), dir); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write only", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			w, err := Create(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			f, err := w.Raw("pages-1.img")
			if err != nil {
				b.Fatal(err)
			}
			for range size / BlockSize {
				if _, err := f.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			_ = f.Close()
			_ = w.Abort()
			b.StartTimer()
		}
	})
}

func writePages(b *testing.B, dir string, block []byte, n int, ahead bool) *Writer {
	b.Helper()
	w, err := Create(dir)
	if err != nil {
		b.Fatal(err)
	}
	f, err := w.Raw("pages-1.img")
	if err == nil && ahead {
		err = w.SumAhead("pages-1.img")
	}
	for i := 0; i < n && err == nil; i++ {
		_, err = f.Write(block)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = w.Finish(testInventory())
	}
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// BenchmarkManyEntries reads an image of 100,000 entries.
func BenchmarkManyEntries(b *testing.B) {
	r, err := Open("testdata/criu-4.1.1")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	k, err := imageKind("pstree.img")
	if err != nil {
		b.Fatal(err)
	}
	data := k.header()
	var all []proto.Message
	err = r.Each("pstree.img", nil, func(m proto.Message, _ io.Reader) error { all = append(all, m); return nil })
	if err != nil {
		b.Fatal(err)
	}
	for range 100_000 {
		if data, err = appendEntry(data, all[0]); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		err := imageOf("pstree.img", data).each(k, func(int) proto.Message { return all[0] }, func(proto.Message, io.Reader) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
}
