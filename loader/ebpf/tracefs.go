// SPDX-License-Identifier: Apache-2.0

package ebpf

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

// tracefs gives the kernel's tracing file system. If it is mounted nowhere, it is mounted for this process alone
// (fsmount(2), Linux 5.2), so that nothing is left behind.
var tracefs = sync.OnceValues(func() (fs.FS, error) {
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

// A field is a part of a tracepoint's record.
type field struct {
	name    string
	typ     string
	offset  int
	size    int
	signed  bool
	dataLoc bool // its text is elsewhere in the record
}

// array says whether the field is text of a fixed size.
func (f field) array() bool { return strings.Contains(f.typ, "[") }

// A format is the record of a tracepoint.
type format struct {
	id     int
	fields []field
	size   int // bytes of the fields
}

// tracepointFormat reads what tracefs says of a tracepoint.
func tracepointFormat(group, event string) (*format, error) {
	t, err := tracefs()
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
func parseFormat(text string) (*format, error) {
	f := &format{id: -1}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if id, ok := strings.CutPrefix(line, "ID:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(id))
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			f.id = n
		}
		decl, ok := strings.CutPrefix(line, "field:")
		if !ok {
			continue
		}
		fl, err := parseField(decl)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		f.fields = append(f.fields, fl)
		f.size = max(f.size, fl.offset+fl.size)
	}
	if f.id < 0 {
		return nil, fmt.Errorf("no ID")
	}
	return f, nil
}

// maxRecord bounds the offsets and sizes that are believed, in bytes; the kernel's own bound is PERF_MAX_TRACE_SIZE.
const maxRecord = 8192

func parseField(decl string) (field, error) {
	var f field
	for i, part := range strings.Split(decl, ";") {
		part = strings.TrimSpace(part)
		if i == 0 {
			// The name is the last word, an array's size behind it: "char comm[16]".
			f.dataLoc = strings.HasPrefix(part, "__data_loc") || strings.HasPrefix(part, "__rel_loc")
			name := part[strings.LastIndexAny(part, " *")+1:]
			f.typ = strings.TrimSpace(strings.TrimSuffix(part, name))
			if base, dim, ok := strings.Cut(name, "["); ok {
				name, f.typ = base, f.typ+"["+dim
			}
			f.name = name
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
			f.offset = n
		case "size":
			f.size = n
		case "signed":
			f.signed = n != 0
		}
	}
	if f.name == "" {
		return f, fmt.Errorf("no name")
	}
	return f, nil
}

// find gives the field of a name.
func (f *format) find(name string) (field, error) {
	var names []string
	for _, fl := range f.fields {
		if fl.name == name {
			return fl, nil
		}
		if !strings.HasPrefix(fl.name, "common_") {
			names = append(names, "$"+fl.name)
		}
	}
	return field{}, fmt.Errorf("there is no field %s; there are %s", name, strings.Join(names, " "))
}

// tracepoints gives the events whose group and name match globs, in order.
func tracepoints(group, event string) ([][2]string, error) {
	t, err := tracefs()
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
