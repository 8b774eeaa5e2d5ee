// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/procfs"
)

// whyOutside says why a process must not write its own pages; empty if it may.
func (d *dumper) whyOutside(t *target) string {
	if t.limits[unix.RLIMIT_FSIZE].Cur != unix.RLIM_INFINITY {
		// A write beyond the limit would send it SIGXFSZ.
		return "it has a file size limit"
	}
	if t.status.Seccomp == 1 {
		return "strict seccomp"
	}
	return d.whyCharged(t)
}

// whyCharged looks at memory cgroups: page cache and tmpfs pages are charged to who writes them, which could bring
// the target to a limit that the engine is not under.
func (d *dumper) whyCharged(t *target) string {
	own, err := d.ownMemoryCgroup()
	if err != nil {
		return fmt.Sprintf("cgroups: %v", err)
	}
	theirs, err := memoryCgroup(t.proc)
	if err != nil {
		return fmt.Sprintf("cgroups: %v", err)
	}
	if theirs == own {
		return ""
	}
	for dir := theirs.path; dir != "/" && dir != "."; dir = path.Dir(dir) {
		if dir == own.path || strings.HasPrefix(own.path, dir+"/") {
			break // the engine is below the same limits
		}
		if theirs.limited(dir) {
			return "its memory cgroup " + dir + " has a limit"
		}
	}
	return ""
}

// memCgroup is where a task's memory is charged.
type memCgroup struct {
	v2   bool
	path string
}

func (d *dumper) ownMemoryCgroup() (memCgroup, error) {
	if d.ownCgroup == (memCgroup{}) {
		self, err := procfs.Open(os.Getpid())
		if err != nil {
			return memCgroup{}, err
		}
		defer self.Close()
		if d.ownCgroup, err = memoryCgroup(self); err != nil {
			return memCgroup{}, err
		}
	}
	return d.ownCgroup, nil
}

func memoryCgroup(p *procfs.Proc) (memCgroup, error) {
	list, err := p.Cgroup()
	if err != nil {
		return memCgroup{}, err
	}
	c := memCgroup{path: "/"}
	for _, g := range list {
		if g.Hierarchy == 0 {
			c = memCgroup{v2: true, path: g.Path}
		}
	}
	for _, g := range list {
		for _, ctl := range g.Controllers {
			if ctl == "memory" {
				return memCgroup{path: g.Path}, nil
			}
		}
	}
	return c, nil
}

// limited tells whether a group has a memory limit. One that can't be read counts as limited.
func (c memCgroup) limited(dir string) bool {
	if c.v2 {
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			for _, f := range []string{"memory.max", "memory.high"} {
				b, err := os.ReadFile(path.Join(mount, dir, f))
				if err == nil && strings.TrimSpace(string(b)) != "max" {
					return true
				}
			}
		}
		// Without the controller there is no such file, and no limit.
		return false
	}
	b, err := os.ReadFile(path.Join("/sys/fs/cgroup/memory", dir, "memory.limit_in_bytes"))
	if err != nil {
		return true
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return err != nil || v < 1<<62
}
