// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestSumRange: a file that ends before its time is an error, where its last page still reaches and where it does not.
func TestSumRange(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 3*PageSize/16+1)
	f, err := os.Create(filepath.Join(t.TempDir(), "pages"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	size := int64(len(data))
	sum, err := sumRange(f, 0, size)
	if want := crc32.Checksum(data, castagnoli()); err != nil || sum != want {
		t.Errorf("%08x, %v; want %08x", sum, err, want)
	}
	if _, err := sumRange(f, 0, size+8*PageSize); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("with 8 pages missing: %v", err)
	}
	if got, err := sumRead(f, 0, size); err != nil || got != sum {
		t.Errorf("read: %08x, %v; want %08x", got, err, sum)
	}
}
