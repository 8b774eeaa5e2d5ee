// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"
)

// imageOf is a reader of an image with the given contents.
func imageOf(name string, data []byte) *imageReader {
	return &imageReader{name: name, in: newBlockReader(name, bytes.NewReader(data), int64(len(data))), size: int64(len(data))}
}

// seeds adds the images that CRIU wrote.
func seeds(f *testing.F, add func(name string, data []byte)) {
	f.Helper()
	files, err := filepath.Glob("testdata/criu-4.1.1/*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no images of CRIU: %v", err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 8192 {
			add(filepath.Base(path), data)
		}
	}
}

// FuzzKinds reads any bytes as an image of each kind: header, framing, message and payload.
func FuzzKinds(f *testing.F) {
	seeds(f, func(name string, data []byte) {
		k, _, _ := KindOf(name)
		for i := range Kinds {
			if k == &Kinds[i] && k.New != nil {
				f.Add(uint(i), data[len(k.header()):])
			}
		}
	})
	f.Fuzz(func(t *testing.T, i uint, body []byte) {
		k := &Kinds[i%uint(len(Kinds))]
		if k.New == nil {
			return
		}
		data := append(k.header(), body...)
		var msgs []proto.Message
		var payloads [][]byte
		err := imageOf(k.Name, data).each(k, k.New, func(m proto.Message, payload io.Reader) error {
			b, err := io.ReadAll(payload)
			msgs, payloads = append(msgs, m), append(payloads, b)
			return err
		})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v does not wrap ErrCorrupt", k.Name, err)
			}
			return
		}
		// What can be read can be written, and reads the same.
		again := k.header()
		for i, m := range msgs {
			if again, err = appendEntry(again, m); err != nil {
				t.Fatal(err)
			}
			again = append(again, payloads[i]...)
		}
		n := 0
		err = imageOf(k.Name, again).each(k, k.New, func(m proto.Message, _ io.Reader) error {
			// Unequal messages can only be due to NaN, which no image has.
			if !proto.Equal(m, msgs[n]) {
				t.Errorf("%s: entry %d is %v, was %v", k.Name, n, m, msgs[n])
			}
			n++
			return nil
		})
		if err != nil || n != len(msgs) {
			t.Errorf("%s: written again: %d entries of %d, %v", k.Name, n, len(msgs), err)
		}
	})
}

// FuzzFraming reads any bytes under the name of any image, header included.
func FuzzFraming(f *testing.F) {
	seeds(f, func(name string, data []byte) { f.Add(name, data) })
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		k, err := imageKind(name)
		if err != nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = imageOf(name, data).each(k, k.New, func(proto.Message, io.Reader) error { return nil })
		runtime.ReadMemStats(&after)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v does not wrap ErrCorrupt", err)
		}
		// Messages are larger in memory than in a file: an empty one of 2 bytes costs some 200. A length
		// that is taken on trust would cost far more.
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20+uint64(len(data))*1024 {
			t.Errorf("%d bytes allocated for an image of %d", got, len(data))
		}
	})
}

// FuzzSums reads any bytes as a sums file. What is accepted is in the one form that it has.
func FuzzSums(f *testing.F) {
	f.Add([]byte("trapline-sums 1 1048576\nend 0 00000000\n"))
	f.Add(sums{
		"core-1.img":  sumBytes("core-1.img", []byte("x")),
		"pages-1.img": {Name: "pages-1.img", Size: BlockSize + 1, Blocks: []uint32{1, 2}},
		"parent":      {Name: "parent", Link: true, Target: "../1"},
		"empty":       {Name: "empty"},
		"dump.log":    {Name: "dump.log", Skip: true},
	}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSums(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v does not wrap ErrCorrupt", err)
			}
			return
		}
		if !bytes.Equal(s.encode(), data) {
			t.Errorf("accepted %q, would write %q", data, s.encode())
		}
	})
}

// FuzzPagemap reads a pagemap beside a pages file of some length, and below it a previous one.
func FuzzPagemap(f *testing.F) {
	seeds(f, func(name string, data []byte) {
		if k, _, _ := KindOf(name); k != nil && k.Magic == "PAGEMAP" {
			f.Add(data[8:], data[8:], uint8(5), uint8(5))
		}
	})
	dir := f.TempDir()
	parent := filepath.Join(dir, "parent")
	if err := os.Mkdir(parent, 0o700); err != nil {
		f.Fatal(err)
	}
	k, err := imageKind("pagemap-1.img")
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range []string{dir, parent} {
		w, err := Create(d)
		if err != nil {
			f.Fatal(err)
		}
		if err := w.Finish(testInventory()); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		if err := os.Remove(filepath.Join(d, SumsName)); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, top, below []byte, pages, pagesBelow uint8) {
		for _, d := range []struct {
			dir   string
			body  []byte
			pages uint8
		}{{dir, top, pages}, {parent, below, pagesBelow}} {
			if err := os.WriteFile(filepath.Join(d.dir, "pagemap-1.img"), append(k.header(), d.body...), 0o600); err != nil {
				t.Fatal(err)
			}
			for id := range 4 {
				path := filepath.Join(d.dir, PagesName(uint32(id)))
				if err := os.WriteFile(path, make([]byte, int(d.pages)*PageSize), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		pm, err := r.Pagemap(1, false)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v", err)
			}
			return
		}
		checkPagemap(t, r, pm)
	})
}

// checkPagemap checks what users of a Pagemap rely on.
func checkPagemap(t *testing.T, r *Reader, pm *Pagemap) {
	t.Helper()
	end := uint64(0)
	for i := range pm.Entries {
		e := &pm.Entries[i]
		if e.Start < end || e.Pages == 0 || e.End() <= e.Start {
			t.Errorf("entry %d: %+v after %#x", i, *e, end)
		}
		end = e.End()
		if e.Offset == NoData {
			continue
		}
		f, err := r.Pages(e)
		if err != nil {
			t.Errorf("entry %d: %v", i, err)
			continue
		}
		fi, err := f.Stat()
		if err != nil || e.Offset < 0 || e.Offset+int64(e.Pages)*PageSize > fi.Size() {
			t.Errorf("entry %d: %+v outside of its file of %d bytes, %v", i, *e, fi.Size(), err)
		}
		_ = f.Close()
	}
}

// FuzzDirectory puts any bytes in place of one file of a directory and reads all of it.
func FuzzDirectory(f *testing.F) {
	dir := f.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/criu-4.1.1")); err != nil {
		f.Fatal(err)
	}
	seeds(f, func(name string, data []byte) { f.Add(name, data) })
	f.Add("trapline-4103.json", []byte(`{"names":["a"]}`))
	f.Add(SumsName, []byte("trapline-sums 1 1048576\nend 0 00000000\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if !isImageName(name) {
			return
		}
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return // a name that this file system does not take
		}
		if _, err := Describe(dir); err != nil && !known(err) {
			t.Errorf("describe: %v", err)
		}
		if _, err := Verify(context.Background(), dir); err != nil {
			t.Errorf("verify: %v", err)
		}
		var x testExtra
		if r, err := Open(dir); err == nil {
			if err := r.Extra(name, &x); err != nil && !known(err) {
				t.Errorf("extra: %v", err)
			}
			_ = r.Close()
		}
		if err != nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, old, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

func known(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrIncomplete) || errors.Is(err, ErrVersion) || errors.Is(err, fs.ErrNotExist)
}

// FuzzExtra reads any bytes as a file of ours.
func FuzzExtra(f *testing.F) {
	f.Add([]byte(`{"names":["a","b"]}`))
	f.Add([]byte(`{"names":` + fmt.Sprint(nested(50)) + `}`))
	dir := f.TempDir()
	writeSmall(f, dir)
	if err := os.Remove(filepath.Join(dir, SumsName)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, "trapline-1.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var x testExtra
		if err := r.Extra("trapline-1.json", &x); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v does not wrap ErrCorrupt", err)
		}
	})
}

func nested(n int) string {
	return string(bytes.Repeat([]byte("["), n)) + string(bytes.Repeat([]byte("]"), n))
}
