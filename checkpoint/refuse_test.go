// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
)

// TestRefusedEarly has dumps that end before anything is touched.
func TestRefusedEarly(t *testing.T) {
	path, err := testprog.Build("nap")
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(path, "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	terminated := errors.New("terminated signal received")
	stopped, cancel := context.WithCancelCause(t.Context())
	cancel(terminated)
	dump := func(ctx context.Context, pid int, o DumpOptions) func() error {
		o.ImagesDir, o.ShellJob = t.TempDir(), true
		return func() error {
			_, err := Dump(ctx, pid, &o)
			return err
		}
	}
	for _, c := range []struct {
		name string
		run  func() error
		is   error
		says string
	}{
		{"itself", dump(t.Context(), os.Getpid(), DumpOptions{}), nil, "this program itself"},
		{"work directory", dump(t.Context(), child.Process.Pid, DumpOptions{WorkDir: nowhere}), os.ErrNotExist, nowhere},
		{"stopped", dump(stopped, child.Process.Pid, DumpOptions{}), terminated, "terminated signal received"},
	} {
		err := c.run()
		if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want an error that says %q", c.name, err, c.says)
		}
	}
}

func TestCheckWorkDir(t *testing.T) {
	dir := t.TempDir()
	for _, good := range []string{"", dir} {
		if err := checkWorkDir(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(dir, "nowhere")} {
		if err := checkWorkDir(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v, want an error that names it", bad, err)
		}
	}
}
