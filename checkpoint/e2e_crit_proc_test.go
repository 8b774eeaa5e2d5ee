// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
)

// A procTask is what /proc says about one process of a tree, in the words of crit's explore functions.
type procTask struct {
	pid, ppid, pgid, sid uint32 // ppid is 0 for the root, as it is in images
	comm, exe            string
	zombie               bool
	fds                  map[string]string // number, "cwd" or "root" → what it leads to
	mems                 []string          // "START-END PROT OFFSET PATH"
	anonymous            int64             // pages of its own, in memory or in swap
	vdso                 int64             // pages of the vDSO
}

// stopTree stops a process and all below it, and returns what lets them go on.
func stopTree(t *testing.T, root int) (resume func()) {
	t.Helper()
	deadline := time.Now().Add(testprog.Patience)
	tree := readTree(t, root)
	for pid := range tree {
		if err := unix.Kill(int(pid), unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for !stopped(t, int(pid)) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d does not stop", pid)
			}
			runtime.Gosched()
		}
	}
	return func() {
		for pid := range tree {
			if err := unix.Kill(int(pid), unix.SIGCONT); err != nil {
				t.Errorf("process %d: %v", pid, err)
			}
		}
	}
}

// stopped tells whether all threads of a process are stopped.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		if _, rest, ok := strings.Cut(string(text), ") T "); !ok || rest == "" {
			return false
		}
	}
	return len(stats) > 0
}

// readTree reads /proc of a process and all below it.
func readTree(t *testing.T, root int) map[uint32]*procTask {
	t.Helper()
	tree := map[uint32]*procTask{}
	var walk func(pid int) error
	walk = func(pid int) error {
		p, err := readProc(pid)
		if err != nil {
			return err
		}
		if pid == root {
			p.ppid = 0
		}
		tree[p.pid] = p
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		if err != nil {
			return err
		}
		for _, list := range lists {
			text, err := os.ReadFile(list)
			if err != nil {
				return err
			}
			for _, word := range strings.Fields(string(text)) {
				child, err := strconv.Atoi(word)
				if err != nil {
					return err
				}
				if err := walk(child); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(root); err != nil {
		t.Fatal(err)
	}
	return tree
}

func readProc(pid int) (*procTask, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return nil, err
	}
	p := &procTask{pid: uint32(pid), fds: map[string]string{}}
	head, rest, _ := strings.Cut(string(stat), "(")
	end := strings.LastIndexByte(rest, ')')
	if end < 0 || strings.TrimSpace(head) != strconv.Itoa(pid) {
		return nil, fmt.Errorf("%s/stat: %q", dir, stat)
	}
	var state string
	p.comm = rest[:end]
	if _, err := fmt.Sscan(rest[end+1:], &state, &p.ppid, &p.pgid, &p.sid); err != nil {
		return nil, fmt.Errorf("%s/stat: %w", dir, err)
	}
	if p.zombie = state == "Z"; p.zombie {
		return p, nil
	}
	entries, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if p.fds[e.Name()], err = os.Readlink(dir + "/fd/" + e.Name()); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"cwd", "root"} {
		if p.fds[name], err = os.Readlink(dir + "/" + name); err != nil {
			return nil, err
		}
	}
	if p.exe, err = os.Readlink(dir + "/exe"); err != nil {
		return nil, err
	}
	return p, p.readMaps(dir)
}

func (p *procTask) readMaps(dir string) error {
	text, err := os.ReadFile(dir + "/smaps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			p.addMap(f[0], f[1], f[2], strings.Join(f[5:], " "))
		case len(f) == 3 && (f[0] == "Anonymous:" || f[0] == "Swap:"):
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return fmt.Errorf("%s/smaps: %q: %w", dir, line, err)
			}
			p.anonymous += kib / 4
		}
	}
	return nil
}

// addMap appends a map. CRIU's images have the parts that Linux made of the vvar in 6.13 as one.
func (p *procTask) addMap(span, prot, offset, path string) {
	if path == "[vvar_vclock]" && len(p.mems) > 0 {
		last := &p.mems[len(p.mems)-1]
		start, end, _ := strings.Cut(span, "-")
		if was, rest, _ := strings.Cut(*last, " "); strings.HasSuffix(rest, " [vvar]") && strings.HasSuffix(was, "-"+start) {
			*last = strings.TrimSuffix(was, start) + end + " " + rest
			return
		}
	}
	if path == "[vdso]" {
		var start, end int64
		if n, _ := fmt.Sscanf(span, "%x-%x", &start, &end); n == 2 {
			p.vdso = (end - start) / 4096
		}
	}
	p.mems = append(p.mems, fmt.Sprintf("%s %s %s %s", span, prot, offset, path))
}
