// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func verify(t *testing.T, dir string) *Report {
	t.Helper()
	rep, err := Verify(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestVerifyWhole(t *testing.T) {
	dir := t.TempDir()
	// A log that is already there may be called anything, change and go.
	if err := os.WriteFile(filepath.Join(dir, "log"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeSmall(t, dir)
	rep := verify(t, dir)
	if !rep.OK() || !rep.Complete || !rep.Summed {
		t.Errorf("%+v", rep)
	}
	if err := os.Remove(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	// What comes after a dump is no damage.
	for _, name := range []string{"restore.log", "restore.pid", "r.loop", "log.2", "descriptors.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if rep := verify(t, dir); !rep.OK() {
		t.Errorf("%+v", rep)
	}
	// What a reader would take for an image is.
	for _, name := range []string{"core-77.img", "new.img", "trapline-77.json", "pages-9.img"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if rep := verify(t, dir); len(rep.Problems) != 1 || rep.Problems[0].File != name {
			t.Errorf("%s: %+v", name, rep)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyEveryByte changes each byte of each file, one at a time, and each bit of the short ones.
func TestVerifyEveryByte(t *testing.T) {
	dir := t.TempDir()
	writeSmall(t, dir)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		path := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bits := []int{0, 1, 2, 3, 4, 5, 6, 7}
		step := 1
		if len(data) > PageSize { // memory: a bit of every 61st byte
			bits, step = bits[:1], 61
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for off := 0; off < len(data); off += step {
			for _, bit := range bits {
				if _, err := f.WriteAt([]byte{data[off] ^ 1<<bit}, int64(off)); err != nil {
					t.Fatal(err)
				}
				rep := verify(t, dir)
				if rep.OK() {
					t.Fatalf("%s: bit %d of byte %d flipped: not found", e.Name(), bit, off)
				}
				// Damage to the sums shows as a failure of the sums themselves.
				if rep.Problems[0].File != e.Name() {
					t.Fatalf("%s: bit %d of byte %d flipped: reported as %v", e.Name(), bit, off, rep.Problems)
				}
			}
			if _, err := f.WriteAt(data[off:off+1], int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if rep := verify(t, dir); !rep.OK() {
		t.Fatalf("restored: %+v", rep)
	}
}

// TestVerifyLengths truncates each file to every length, makes it longer, and removes it.
func TestVerifyLengths(t *testing.T) {
	dir := t.TempDir()
	writeSmall(t, dir)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		path := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found := func(what string) {
			t.Helper()
			rep := verify(t, dir)
			if rep.OK() || rep.Problems[0].File != e.Name() {
				t.Errorf("%s: %s: %v", e.Name(), what, rep.Problems)
			}
		}
		write := func(b []byte) {
			t.Helper()
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for n := 0; n < len(data); n += 1 + len(data)/200 {
			write(data[:n])
			found("truncated")
		}
		write(append(data[:len(data):len(data)], 0))
		found("a byte more")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if e.Name() == SumsName {
			if rep := verify(t, dir); rep.Summed {
				t.Error("summed without sums")
			}
		} else {
			found("removed")
		}
		if err := os.Symlink("pstree.img", path); err != nil {
			t.Fatal(err)
		}
		found("a link")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		write(data)
	}
	extra := filepath.Join(dir, "core-13.img")
	if err := os.WriteFile(extra, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := verify(t, dir); rep.OK() || rep.Problems[0].File != "core-13.img" {
		t.Errorf("extra file: %v", rep.Problems)
	}
}

// TestVerifyNamesBlock looks at a file of several blocks.
func TestVerifyNamesBlock(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f, err := w.Raw("pages-1.img")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SumAhead("pages-1.img"); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, BlockSize)
	for i := range 7 {
		for k := range block {
			block[k] = byte(i*k + k>>8)
		}
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Write(block[:PageSize]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(testInventory()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pages-1.img")
	for _, off := range []int64{0, BlockSize - 1, 3 * BlockSize, 7*BlockSize - 1, 7 * BlockSize, 7*BlockSize + PageSize - 1} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		flip := func() {
			if _, err := f.ReadAt(b[:], off); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 0x10
			if _, err := f.WriteAt(b[:], off); err != nil {
				t.Fatal(err)
			}
		}
		flip()
		rep := verify(t, dir)
		if len(rep.Problems) != 1 || rep.Problems[0].File != "pages-1.img" || rep.Problems[0].Offset != off/BlockSize*BlockSize {
			t.Errorf("flip at %d: %v", off, rep.Problems)
		}
		flip()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	rep := verify(t, dir)
	if len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0].Reason, "no pagemap refers to it") {
		t.Errorf("pages without pagemap: %v", rep.Problems)
	}
	if err := os.Truncate(path, 5*BlockSize+3); err != nil {
		t.Fatal(err)
	}
	rep = verify(t, dir)
	if len(rep.Problems) != 1 || rep.Problems[0].Offset != 5*BlockSize+3 || rep.Problems[0].Length != 2*BlockSize+PageSize-3 {
		t.Errorf("truncated: %v", rep.Problems)
	}
}

// TestCheckLengths cuts, lengthens and removes each file in turn.
func TestCheckLengths(t *testing.T) {
	dir := t.TempDir()
	writeSmall(t, dir)
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.CheckLengths(); err != nil {
		t.Fatal(err)
	}
	for name, sum := range r.sums {
		if sum.Link || sum.Skip || unsummed(name) {
			continue
		}
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func() error{
			"cut":        func() error { return os.Truncate(path, int64(len(data)-1)) },
			"lengthened": func() error { return os.Truncate(path, int64(len(data)+1)) },
			"removed":    func() error { return os.Remove(path) },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			if err := r.CheckLengths(); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: %v; want an ErrCorrupt that names it", name, what, err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
