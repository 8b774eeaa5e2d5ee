// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestSums: a sum for each block, mapped or read; a file that ends before its time is an error, where its last page still reaches
// and where it does not.
func TestSums(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), (2*BlockSize+3*PageSize)/16+1)
	f, err := os.Create(filepath.Join(t.TempDir(), "pages"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	size := int64(len(data))
	want := []uint32{1}
	for block := range slices.Chunk(data, BlockSize) {
		want = append(want, crc32.Checksum(block, castagnoli()))
	}
	if got, err := appendSums([]uint32{1}, f, 0, size); err != nil || !slices.Equal(got, want) {
		t.Errorf("%08x, %v; want %08x", got, err, want)
	}
	if got, err := readSums([]uint32{1}, f, 0, size); err != nil || !slices.Equal(got, want) {
		t.Errorf("read: %08x, %v; want %08x", got, err, want)
	}
	if _, err := appendSums(nil, f, 0, size+8*PageSize); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("with 8 pages missing: %v", err)
	}
}
