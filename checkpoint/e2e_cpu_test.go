// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/internal/testprog"
)

// TestE2EOtherCPU restores images of a CPU with a feature that no CPU has: the restore ends before it makes a process and
// names the feature, unless --cpu-cap says that it does not matter.
func TestE2EOtherCPU(t *testing.T) {
	if !here(t) {
		return
	}
	const feature = "trapline_unknown_feature"
	tgt := testprog.Start(t, mustBuild(t, "tree_children"), nil, nil)
	tgt.Ready()
	root, images := tgt.Pid, dumped(t, tgt)
	addCPUFeature(t, filepath.Join(images, fmt.Sprintf("trapline-%d.json", root)), feature)

	refused := func(what string, words ...string) {
		t.Helper()
		_, err := testprog.Trapline().Restore(tgt.Dir, images)
		var run *testprog.RunError
		if !errors.As(err, &run) {
			t.Fatalf("%s: expected the restore to fail, seen %v", what, err)
		}
		if status := run.ExitStatus(); status != 1 {
			t.Errorf("%s: exit status %d, expected 1", what, status)
		}
		mention(t, run.Output+run.Log, words...)
		if left := testprog.Marked(tgt.Dir); len(left) > 0 {
			t.Errorf("%s: the refused restore left processes: %v", what, left)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", root)); err == nil {
			t.Errorf("%s: the refused restore left process %d", what, root)
		}
	}
	refused("with checksums", "corrupt|checksum", image.SumsName)
	// Changed on purpose: a directory without checksums is as good as CRIU's.
	if err := os.Remove(filepath.Join(images, image.SumsName)); err != nil {
		t.Fatal(err)
	}
	refused("without checksums", feature, "cpu-cap")

	restored(t, tgt, images, "--cpu-cap=none")
}

// addCPUFeature changes the file of what CRIU's images can't hold. Everything else in it stays as it is.
func addCPUFeature(t *testing.T, file, feature string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var extra, cpu map[string]json.RawMessage
	var features []string
	for _, step := range []func() error{
		func() error { return json.Unmarshal(text, &extra) },
		func() error { return json.Unmarshal(extra["cpu"], &cpu) },
		func() error { return json.Unmarshal(cpu["features"], &features) },
		func() (err error) {
			features = append(features, feature)
			slices.Sort(features)
			cpu["features"], err = json.Marshal(features)
			return err
		},
		func() (err error) { extra["cpu"], err = json.Marshal(cpu); return err },
		func() (err error) { text, err = json.Marshal(extra); return err },
	} {
		if err := step(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
