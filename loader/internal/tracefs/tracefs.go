// SPDX-License-Identifier: Apache-2.0

// Package tracefs reads what the kernel says about its tracepoints.
package tracefs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/probes"
)

// FS gives the kernel's tracing file system. If it is mounted nowhere, it is mounted for this process alone
// (fsmount(2), Linux 5.2), so that nothing is left behind.
var FS = sync.OnceValues(func() (fs.FS, error) {
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.TRACEFS_MAGIC {
			return os.DirFS(dir), nil
		}
	}
	fd, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("tracefs is not mounted, and can't be: %w; mount it on /sys/kernel/tracing", err)
	}
	defer unix.Close(fd)
	if err := unix.FsconfigCreate(fd); err != nil {
		return nil, fmt.Errorf("tracefs is not mounted, and can't be: %w; mount it on /sys/kernel/tracing", err)
	}
	mount, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("tracefs is not mounted, and can't be: %w; mount it on /sys/kernel/tracing", err)
	}
	return os.DirFS(fmt.Sprintf("/proc/self/fd/%d", mount)), nil
})

// A Field is a part of a tracepoint's record.
type Field struct {
	Name    string
	Type    string
	Offset  int // bytes
	Size    int // bytes
	Signed  bool
	DataLoc bool // its text is elsewhere in the record
}

// Array says whether the field is text of a fixed size.
func (f Field) Array() bool { return strings.Contains(f.Type, "[") }

// A Format is the record of a tracepoint.
type Format struct {
	ID     int // by which perf_event_open(2) knows the tracepoint
	Fields []Field
	Size   int // bytes of the fields
}

// ReadFormat reads what tracefs says of a tracepoint.
func ReadFormat(group, event string) (*Format, error) {
	t, err := FS()
	if err != nil {
		return nil, err
	}
	text, err := fs.ReadFile(t, path.Join("events", group, event, "format"))
	if err != nil {
		return nil, fmt.Errorf("tracepoint %s:%s: %w", group, event, err)
	}
	f, err := parseFormat(string(text))
	if err != nil {
		return nil, fmt.Errorf("tracepoint %s:%s: format: %w", group, event, err)
	}
	return f, nil
}

// parseFormat reads lines such as
//
//	ID: 317
//	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
//	field:__data_loc char[] name;	offset:8;	size:4;	signed:0;
func parseFormat(text string) (*Format, error) {
	f := &Format{ID: -1}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if id, ok := strings.CutPrefix(line, "ID:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(id))
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			f.ID = n
		}
		decl, ok := strings.CutPrefix(line, "field:")
		if !ok {
			continue
		}
		fl, err := parseField(decl)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		f.Fields = append(f.Fields, fl)
		f.Size = max(f.Size, fl.Offset+fl.Size)
	}
	if f.ID < 0 {
		return nil, fmt.Errorf("no ID")
	}
	return f, nil
}

// maxRecord bounds the offsets and sizes that are believed, in bytes; the kernel's own bound is PERF_MAX_TRACE_SIZE.
const maxRecord = 8192

func parseField(decl string) (Field, error) {
	var f Field
	for i, part := range strings.Split(decl, ";") {
		part = strings.TrimSpace(part)
		if i == 0 {
			// The name is the last word, an array's size behind it: "char comm[16]".
			f.DataLoc = strings.HasPrefix(part, "__data_loc") || strings.HasPrefix(part, "__rel_loc")
			name := part[strings.LastIndexAny(part, " *")+1:]
			f.Type = strings.TrimSpace(strings.TrimSuffix(part, name))
			if base, dim, ok := strings.Cut(name, "["); ok {
				name, f.Type = base, f.Type+"["+dim
			}
			f.Name = name
			continue
		}
		key, value, ok := strings.Cut(part, ":")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > maxRecord {
			return f, fmt.Errorf("%s is not a number up to %d", part, maxRecord)
		}
		switch key {
		case "offset":
			f.Offset = n
		case "size":
			f.Size = n
		case "signed":
			f.Signed = n != 0
		}
	}
	if f.Name == "" {
		return f, fmt.Errorf("no name")
	}
	return f, nil
}

// Find gives the field of a name.
func (f *Format) Find(name string) (Field, error) {
	var names []string
	for _, fl := range f.Fields {
		if fl.Name == name {
			return fl, nil
		}
		if !strings.HasPrefix(fl.Name, "common_") {
			names = append(names, "$"+fl.Name)
		}
	}
	return Field{}, fmt.Errorf("there is no field %s; there are %s", name, strings.Join(names, " "))
}

// Events gives the tracepoints, each as group and event, whose group and name match globs, in order.
func Events(group, event string) ([][2]string, error) {
	t, err := FS()
	if err != nil {
		return nil, err
	}
	groups, err := fs.ReadDir(t, "events")
	if err != nil {
		return nil, fmt.Errorf("tracepoints: %w", err)
	}
	var found [][2]string
	for _, g := range groups {
		if !g.IsDir() || !probes.MatchGlob(group, g.Name()) {
			continue
		}
		events, err := fs.ReadDir(t, path.Join("events", g.Name()))
		if err != nil {
			return nil, fmt.Errorf("tracepoints of %s: %w", g.Name(), err)
		}
		for _, e := range events {
			if e.IsDir() && probes.MatchGlob(event, e.Name()) {
				found = append(found, [2]string{g.Name(), e.Name()})
			}
		}
	}
	return found, nil
}
