// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/internal/testprog"
)

// critScenarios are the trees whose images go-criu's crit reads: what they have between them is everything of its table of
// descriptors that a target can have here.
var critScenarios = []string{
	"tree/sessions", "tree/zombies", "tree/names", "threads/50", "signals/pending", "time/posix_timers",
	"memory/anonymous", "memory/file_private", "memory/file_deleted_shared", "memory/shared_anonymous", "memory/shared_memfd", "memory/sysv",
	"regular/plain", "regular/deleted", "pipe/data", "pipe/fifo", "anon/eventfd", "anon/timerfd", "anon/signalfd", "anon/epoll", "anon/memfd",
	"unix/stream", "unix/dgram", "unix/listen", "inet/listen4", "inet/udp",
	"program/python3", "program/redis",
}

// TestE2ECrit dumps trees that run on and reads the images with the library of CRIU's own tool: every file decodes, encodes
// to the same bytes, and what "crit x DIR ps|fds|mems|rss" says is what /proc says of the tree.
func TestE2ECrit(t *testing.T) {
	if !here(t) {
		return
	}
	for _, name := range critScenarios {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			t.Fatalf("there is no scenario %s", name)
		}
		s := &scenarios[i]
		if why := notHere[name]; why != "" || testing.Short() && !s.quickest() {
			if why != "" {
				t.Logf("%s is not for this guest: %s", name, why)
			}
			continue
		}
		// crit keeps what it has read in package variables: no two at a time.
		t.Run(name, func(t *testing.T) {
			tgt := s.begin(t)
			resume := func() {}
			if strings.HasPrefix(name, "program/") {
				resume = stopTree(t, tgt.Pid) // it would go on between the look at /proc and the dump
			}
			before := readTree(t, tgt.Pid)
			images := imagesDir(t)
			if err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, images, append([]string{"-R"}, s.dump...)...); err != nil {
				t.Fatal(err)
			}
			decodeAll(t, images)
			c := crit.New(nil, nil, images, false, false)
			compareTree(t, c, before)
			compareFds(t, c, before)
			compareMems(t, c, before)
			compareRss(t, c, before)
			resume()
			if s.check != nil {
				if err := s.check(t, tgt); err != nil {
					t.Errorf("after the dump: %v", err)
				}
				return
			}
			if err := tgt.Verdict(); err != nil {
				t.Errorf("after the dump: %v", err)
			}
		})
	}
}

// decodeAll has crit decode each image of a directory, in the way of "crit decode", and encode it again.
func decodeAll(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.img"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no images: %v", err)
	}
	for _, file := range files {
		switch name := filepath.Base(file); {
		case strings.HasPrefix(name, "pages-"):
			continue // contents of memory alone, which crit has no decoder for
		case strings.HasPrefix(name, "ipcns-shm-"):
			continue // go-criu 8.3 looks for contents in it also where the entry says in_pagemaps
		}
		if err := decodeOne(t, file); err != nil {
			t.Errorf("crit: %s: %v", filepath.Base(file), err)
		}
	}
}

func decodeOne(t *testing.T, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	magic, err := crit.ReadMagic(f)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	kind, _, ok := image.KindOf(filepath.Base(file))
	if !ok {
		return errors.New("no kind of image")
	}
	if kind.Magic != magic {
		return fmt.Errorf("it has the magic of %s, expected %s", magic, kind.Magic)
	}
	var entry proto.Message
	if kind.New != nil {
		entry = kind.New(0)
	}
	img, err := crit.New(f, nil, "", false, false).Decode(entry)
	if err != nil {
		return err
	}
	if n, err := f.Seek(0, io.SeekCurrent); err != nil {
		return err
	} else if st, err := f.Stat(); err != nil || st.Size() != n {
		return fmt.Errorf("it ends after %d bytes: %w", n, err)
	}
	if len(img.Entries) == 0 {
		return nil
	}
	for i, e := range img.Entries {
		if unknown := unknownFields(e.Message.ProtoReflect()); unknown != "" {
			return fmt.Errorf("entry %d has fields that go-criu does not know in %s", i, unknown)
		}
	}
	if magic == "GHOST_FILE" {
		return nil // go-criu 8.3 takes its payload to be longer by the two magic words, and writes chunks without a length
	}
	again, err := os.Create(filepath.Join(t.TempDir(), "again.img"))
	if err != nil {
		return err
	}
	defer again.Close()
	if err := crit.New(nil, again, "", false, false).Encode(img); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(again.Name())
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("decoded and encoded it has %d bytes that differ from the %d before", len(got), len(want))
	}
	return nil
}
