// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/stage"
	"github.com/trapline/trapline/internal/testprog"
)

// TestE2EStages dumps and restores a tree and looks at both timelines: each stage is there for the whole tree and for
// each process, within that of the whole, and what the processes did is counted once.
//
// It reads them from the files that every dump and restore leaves in its work directory.
func TestE2EStages(t *testing.T) {
	if !here(t) {
		return
	}
	for _, work := range []bool{false, true} {
		t.Run(map[bool]string{false: "images", true: "work"}[work], func(t *testing.T) {
			tgt := testprog.Start(t, mustBuild(t, "tree_children"), nil, nil)
			tgt.Ready()
			images := imagesDir(t)
			dir, args := images, []string(nil)
			if work {
				dir = imagesDir(t)
				args = []string{"-W", dir}
			}
			if err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, images, args...); err != nil {
				t.Fatal(err)
			}
			if err := tgt.Gone(); err != nil {
				t.Fatal(err)
			}
			if !work {
				trapline(t, 0, "verify", images)
			}
			restored(t, tgt, images, args...)
			trapline(t, 0, "verify", images)
			var e stats.StatsEntry
			checkStages(t, readStats(t, dir, image.StatsDump, &e), e.GetDump().GetPagesWritten(), stage.Files, stage.Tree, stage.Finish)
			checkStages(t, readStats(t, dir, image.StatsRestore, &e), e.GetRestore().GetPagesRestored(), stage.Load)
		})
	}
}

// TestE2EReadOnlyImages restores from a directory that nobody can write to.
func TestE2EReadOnlyImages(t *testing.T) {
	tgt := testprog.Start(t, mustBuild(t, "basic"), nil, nil)
	tgt.Ready()
	images, work := imagesDir(t), imagesDir(t)
	if err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, images); err != nil {
		t.Fatal(err)
	}
	if err := tgt.Gone(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(images, images, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(images, unix.MNT_DETACH) })
	if err := unix.Mount("", images, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	pidfile := filepath.Join(work, "pid")
	// Not with -W: the statistics have nowhere to go.
	out := trapline(t, 0, "restore", "-D", images, "-d", "--pidfile", pidfile)
	mention(t, out, image.StatsRestore)
	text, err := os.ReadFile(pidfile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	whole(t, tgt, pid)
}

// readStats reads statistics in CRIU's format and the stages beside them.
func readStats(t *testing.T, dir, name string, e *stats.StatsEntry) (r stage.Report) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	// Two magic words, then the length of the only message.
	if len(data) < 12 || int(binary.LittleEndian.Uint32(data[8:])) != len(data)-12 {
		t.Fatalf("%s has %d bytes", name, len(data))
	}
	if err := proto.Unmarshal(data[12:], e); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	stages := map[string]string{image.StatsDump: image.StagesDump, image.StatsRestore: image.StagesRestore}[name]
	if data, err = os.ReadFile(filepath.Join(dir, stages)); err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkStages expects every stage of the operation; those in whole are of the tree alone.
func checkStages(t *testing.T, r stage.Report, pages uint64, whole ...stage.Name) {
	t.Helper()
	var total int64
	var counted uint64
	processes := r.Of(stage.Pages).N
	if processes < 2 {
		t.Errorf("%s: %d processes, expected several", r.Op, processes)
	}
	for _, info := range stage.Of(r.Op) {
		row := r.Of(info.Name)
		want := processes
		if slices.Contains(whole, info.Name) {
			want = 1
		}
		if row.N != want {
			t.Errorf("%s: stage %s ran in %d processes, expected %d", r.Op, info.Name, row.N, want)
		}
		var tree stage.Record
		for _, rec := range r.Records {
			if rec.Stage == info.Name && rec.PID == 0 {
				tree = rec
			}
		}
		if row.Dur != tree.Dur {
			t.Errorf("%s: stage %s took %v, its span of the whole tree %v", r.Op, info.Name, row.Dur, tree.Dur)
		}
		// Those of processes may overlap: while one is at its remote call the next gets ready.
		for _, rec := range r.Records {
			if rec.Stage == info.Name && (rec.Dur < 0 || rec.Start < tree.Start || rec.Start+rec.Dur > tree.Start+tree.Dur) {
				t.Errorf("%s: stage %s of process %d, at %v for %v, is not within that of the tree, at %v for %v",
					r.Op, info.Name, rec.PID, rec.Start, rec.Dur, tree.Start, tree.Dur)
			}
		}
		total += int64(row.Dur)
		counted += uint64(row.Pages)
	}
	if total > int64(r.Total) {
		t.Errorf("%s: the stages took %d ns, more than the whole, %d", r.Op, total, r.Total)
	}
	if counted != pages {
		t.Errorf("%s: the stages count %d pages, the statistics %d", r.Op, counted, pages)
	}
	if r.Of(stage.Misc).Calls+r.Of(stage.State).Calls == 0 {
		t.Errorf("%s: no remote calls", r.Op)
	}
}

// TestE2EVerbose looks for what -v4 adds to the logs: every process, its descriptors and pages, and who made it.
func TestE2EVerbose(t *testing.T) {
	tgt := testprog.Start(t, mustBuild(t, "tree_many_fds"), nil, nil)
	tgt.Ready()
	images := dumped(t, tgt, "-v4")
	pid := tgt.Pid
	// Without a script, of which --pidfile is one: files are opened ahead from the first moment on.
	trapline(t, 0, "restore", "-D", images, "-d", "-v4", "-o", "restore.log")
	whole(t, tgt, pid)
	for _, c := range []struct {
		sub  string
		want []string
	}{
		{"dump", []string{"stage name=collect", "process pid=%d .* threads=1 maps=", "descriptor pid=%d fd=699 is=.*parent/599 kind=REG", "pages pid=%d "}},
		{"restore", []string{"stage name=fork", "process pid=%d .* descriptors=60", "born pid=%d by=", "pages to read pid=%d", "files opened ahead pid=%d count=(36[0-9]) of=(36[0-9])"}},
	} {
		log, err := os.ReadFile(filepath.Join(images, c.sub+".log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.want {
			w = strings.ReplaceAll(w, "%d", strconv.Itoa(pid))
			if !regexp.MustCompile(w).Match(log) {
				t.Errorf("%s -v4: no line matches %q in\n%s", c.sub, w, log)
			}
		}
	}
}
