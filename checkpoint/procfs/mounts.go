// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Mount is a line of mountinfo. Paths are as seen from the process' root, escapes undone.
type Mount struct {
	ID, Parent   int
	Dev          uint64 // as stat(2) has it for files on it (btrfs subvolumes excepted)
	Root         string // the directory of the filesystem that is mounted
	MountPoint   string
	Options      string
	Optional     []string // shared:N, master:N, propagate_from:N, unbindable
	FSType       string
	Source       string
	SuperOptions string
}

// MountInfo reads the mounts of the process' mount namespace that its root directory can reach.
func (p *Proc) MountInfo() ([]Mount, error) {
	var mounts []Mount
	err := p.list("mountinfo", func(b []byte) (err error) {
		mounts, err = parseMountInfo(b)
		return err
	})
	return mounts, err
}

// parseMountInfo parses lines such as
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMountInfo(text []byte) ([]Mount, error) {
	var mounts []Mount
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		m, ok := parseMount(line)
		if !ok {
			return nil, bad("mountinfo", line)
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

func parseMount(b []byte) (m Mount, ok bool) {
	next := func() []byte {
		// Exactly one space between: a source may be empty.
		field, rest, _ := bytes.Cut(b, []byte(" "))
		b = rest
		return field
	}
	if m.ID, ok = parseID(next()); !ok {
		return m, false
	}
	if m.Parent, ok = parseID(next()); !ok {
		return m, false
	}
	major, minor, ok := bytes.Cut(next(), []byte(":"))
	if !ok {
		return m, false
	}
	maj, ok1 := parseUint(major, 10)
	mnr, ok2 := parseUint(minor, 10)
	if !ok1 || !ok2 || maj > 1<<32-1 || mnr > 1<<32-1 {
		return m, false
	}
	m.Dev = unix.Mkdev(uint32(maj), uint32(mnr))
	m.Root, m.MountPoint, m.Options = unescape(next()), unescape(next()), string(next())
	for {
		field := next()
		if string(field) == "-" {
			break
		}
		if len(field) == 0 {
			return m, false
		}
		m.Optional = append(m.Optional, string(field))
	}
	m.FSType, m.Source = unescape(next()), unescape(next())
	m.SuperOptions = string(b)
	return m, len(m.FSType) > 0
}

// Cgroup is a line of /proc/PID/cgroup.
type Cgroup struct {
	Hierarchy   int      // 0 for cgroup v2
	Controllers []string // none for v2; name=… for a named v1 hierarchy
	// Path from the root of the reader's cgroup namespace. A group that was removed ends in " (deleted)".
	Path string
}

// Cgroup reads the control groups of the task, without CONFIG_CGROUPS none.
func (p *Proc) Cgroup() ([]Cgroup, error) {
	var groups []Cgroup
	err := p.list("cgroup", func(b []byte) (err error) {
		groups, err = parseCgroup(b)
		return err
	})
	if isMissing(err) {
		return nil, nil
	}
	return groups, err
}

// parseCgroup parses lines of "HIERARCHY:CONTROLLER,…:PATH". A path may hold colons.
func parseCgroup(text []byte) ([]Cgroup, error) {
	var groups []Cgroup
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		id, rest, ok1 := bytes.Cut(line, []byte(":"))
		controllers, path, ok2 := bytes.Cut(rest, []byte(":"))
		n, ok := parseID(id)
		if !ok || !ok1 || !ok2 {
			return nil, bad("cgroup", line)
		}
		g := Cgroup{Hierarchy: n, Path: string(path)}
		for len(controllers) > 0 {
			var c []byte
			c, controllers, _ = bytes.Cut(controllers, []byte(","))
			g.Controllers = append(g.Controllers, string(c))
		}
		groups = append(groups, g)
	}
	return groups, nil
}
