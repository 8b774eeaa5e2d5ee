// SPDX-License-Identifier: Apache-2.0

package testprog

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Snapshot is what /proc says about a tree and what a dump and a restore must not change: one text for each
// "PID/subject" or "PID/TID/subject".
type Snapshot map[string]string

// statusFields are the lines of /proc/PID/status that belong to the process and not to the moment.
var statusFields = []string{
	"Name", "Umask", "Tgid", "Pid", "PPid", "TracerPid", "Uid", "Gid", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk",
	"SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters",
	"THP_enabled", "Cpus_allowed",
}

// Take reads the snapshot of every process that carries the marker. The tree must be at rest.
func Take(marker string) (Snapshot, error) {
	s := Snapshot{}
	pids := Marked(marker)
	for _, pid := range pids {
		s.process(pid)
		for _, child := range zombies(pid) {
			s.stat(fmt.Sprintf("%d/zombie", child), fmt.Sprintf("/proc/%d", child))
		}
	}
	s.hideOutside(pids)
	if len(s) == 0 {
		return nil, fmt.Errorf("testprog: no process carries the marker %s", marker)
	}
	return s, nil
}

// AwaitFree waits until the ids of all its tasks are free again, at most limit, and returns those that are not: a task that
// has ended keeps its id until somebody has waited for it.
func (s Snapshot) AwaitFree(limit time.Duration) []int {
	deadline := time.Now().Add(limit)
	ids := map[int]bool{}
	for k := range s {
		parts := strings.Split(k, "/")
		for _, p := range parts[:len(parts)-1] {
			if id, err := strconv.Atoi(p); err == nil && !slices.Contains(parts, "fd") {
				ids[id] = true
			}
		}
	}
	for {
		for id := range ids {
			// Of threads too: /proc finds them by name, it only does not list them.
			if err := unix.Access(fmt.Sprintf("/proc/%d", id), unix.F_OK); err != nil {
				delete(ids, id)
			}
		}
		if len(ids) == 0 || time.Now().After(deadline) {
			return slices.Sorted(maps.Keys(ids))
		}
		runtime.Gosched()
	}
}

// hideOutside replaces the parent of the tree's root, which is the test before and init after.
func (s Snapshot) hideOutside(pids []int) {
	for k, text := range s {
		field, end := "ppid=", " "
		if strings.HasSuffix(k, "/status") {
			field, end = "PPid:\t", "\n"
		} else if !strings.HasSuffix(k, "/stat") {
			continue
		}
		head, rest, ok := strings.Cut(text, field)
		number, rest, ok2 := strings.Cut(rest, end)
		parent, err := strconv.Atoi(number)
		if ok && ok2 && err == nil && !slices.Contains(pids, parent) {
			s[k] = head + field + "outside" + end + rest
		}
	}
}

// zombies lists the children of pid that have ended. They have no environment to carry the marker.
func zombies(pid int) []int {
	var list []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, word := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(word)
			if st := statFields(fmt.Sprintf("/proc/%d", child)); len(st) > 0 && st[0] == "Z" {
				list = append(list, child)
			}
		}
	}
	return list
}

// statFields returns the fields of a stat file from the third (state) on.
func statFields(dir string) []string {
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return nil
	}
	end := strings.LastIndexByte(string(text), ')')
	return strings.Fields(string(text[end+1:]))
}

// stat keeps the fields of a stat file that last.
func (s Snapshot) stat(key, dir string) {
	f := statFields(dir)
	if len(f) < 50 {
		return
	}
	state := f[0]
	if state == "R" || state == "D" { // the moment
		state = "S"
	}
	exit := f[49]
	if state != "Z" {
		exit = "none" // a leftover of the last stop
	}
	// Counted from 0 at the third field: ppid 1, pgrp 2, session 3, tty 4, tpgid 5, priority 15, nice 16,
	// rt_priority 37, policy 38, exit_code 49.
	s[key+"/stat"] = fmt.Sprintf("state=%s ppid=%s pgrp=%s session=%s tty=%s tpgid=%s priority=%s nice=%s rtprio=%s policy=%s exit=%s",
		state, f[1], f[2], f[3], f[4], f[5], f[15], f[16], f[37], f[38], exit)
}

func (s Snapshot) process(pid int) {
	dir := fmt.Sprintf("/proc/%d", pid)
	p := strconv.Itoa(pid)
	for _, name := range []string{"cmdline", "environ", "auxv", "limits", "oom_score_adj", "personality", "timerslack_ns", "coredump_filter"} {
		if b, err := os.ReadFile(dir + "/" + name); err == nil {
			s[p+"/"+name] = string(b)
		}
	}
	for _, name := range []string{"exe", "cwd", "root"} {
		if l, err := os.Readlink(dir + "/" + name); err == nil {
			s[p+"/"+name] = l
		}
	}
	s.stat(p, dir)
	s.maps(p, dir)
	s.descriptors(p, dir)
	tasks, _ := os.ReadDir(dir + "/task")
	for _, t := range tasks {
		s.task(p+"/"+t.Name(), dir+"/task/"+t.Name())
	}
}

func (s Snapshot) task(key, dir string) {
	s.stat(key, dir)
	if b, err := os.ReadFile(dir + "/comm"); err == nil {
		s[key+"/comm"] = string(b)
	}
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		if name == "SigBlk" {
			line = hideWaited(line)
		}
		if slices.Contains(statusFields, name) {
			kept = append(kept, line)
		}
	}
	s[key+"/status"] = strings.Join(kept, "")
}

// hideWaited takes SIGUSR1 out of a mask: a child of a test program waits for it in sigwaitinfo, and the kernel unblocks
// it for just as long.
func hideWaited(line string) string {
	name, value, _ := strings.Cut(line, ":")
	mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
	if err != nil {
		return line
	}
	return fmt.Sprintf("%s:\t%016x\n", name, mask&^(1<<(uint(unix.SIGUSR1)-1)))
}

// A span is one map, or several that the kernel could have merged: whether it did says nothing about the process.
type span struct {
	start, end, offset uint64
	rest               string // protection, path, VmFlags
}

// maps keeps address, protection, offset, path and VmFlags of every map. Device and inode of a deleted file, a memfd or
// shared anonymous memory are new ones after a restore.
func (s Snapshot) maps(p, dir string) {
	text, err := os.ReadFile(dir + "/smaps")
	if err != nil {
		return
	}
	var spans []span
	var cur span
	for line := range strings.Lines(string(text)) {
		if flags, ok := strings.CutPrefix(line, "VmFlags: "); ok {
			// sd (soft-dirty) says something about the moment, and ac (accounted) is set once a private file map has
			// been writable, as it has to be for its contents.
			kept := slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return f == "sd" || f == "ac" })
			cur.rest += " (" + strings.Join(kept, " ") + ")"
			spans = appendSpan(spans, cur)
			continue
		}
		f := strings.Fields(line)
		if len(f) < 5 || !strings.Contains(f[0], "-") {
			continue
		}
		path := strings.Join(f[5:], " ")
		if path == "/dev/zero (deleted)" || path == "/memfd:/dev/zero (deleted)" {
			path = "shared anonymous" // CRIU restores it from a memfd
		}
		cur = span{rest: f[1] + " " + path}
		if n, _ := fmt.Sscanf(f[0]+" "+f[2], "%x-%x %x", &cur.start, &cur.end, &cur.offset); n != 3 {
			continue
		}
	}
	var b strings.Builder
	for _, m := range spans {
		start := fmt.Sprintf("%x", m.start)
		if strings.Contains(m.rest, "[stack]") {
			start = "…" // grows by itself
		}
		fmt.Fprintf(&b, "%s-%x %x %s\n", start, m.end, m.offset, m.rest)
	}
	s[p+"/maps"] = b.String()
}

func appendSpan(spans []span, m span) []span {
	if n := len(spans); n > 0 {
		last := &spans[n-1]
		file := strings.Contains(m.rest, "/") || strings.Contains(m.rest, "shared")
		if last.end == m.start && last.rest == m.rest && (!file || last.offset+(last.end-last.start) == m.offset) {
			last.end = m.end
			return spans
		}
	}
	return append(spans, m)
}

// descriptors keeps what each descriptor leads to, its position and its flags.
func (s Snapshot) descriptors(p, dir string) {
	entries, _ := os.ReadDir(dir + "/fd")
	for _, e := range entries {
		link, _ := os.Readlink(dir + "/fd/" + e.Name())
		if kind, _, ok := strings.Cut(link, ":["); ok {
			link = kind // the inode of a pipe or socket is a new one
		}
		text, _ := os.ReadFile(dir + "/fdinfo/" + e.Name())
		var kept []string
		for line := range strings.Lines(string(text)) {
			switch name, value, _ := strings.Cut(line, ":"); name {
			case "pos", "flags":
				kept = append(kept, name+"="+strings.TrimSpace(value))
			}
		}
		var st unix.Stat_t
		mode := ""
		if err := unix.Stat(dir+"/fd/"+e.Name(), &st); err == nil {
			mode = fmt.Sprintf(" type=%o", st.Mode&unix.S_IFMT)
		}
		s[p+"/fd/"+e.Name()] = link + " " + strings.Join(kept, " ") + mode
	}
}

// Diff returns what differs, one subject a line, lines of a text compared one by one. Subjects whose last word is in
// ignore are left out.
func (s Snapshot) Diff(after Snapshot, ignore ...string) []string {
	keys := slices.Sorted(maps.Keys(s))
	for k := range after {
		if _, ok := s[k]; !ok {
			keys = append(keys, k)
		}
	}
	var diffs []string
	for _, k := range keys {
		a, b := s[k], after[k]
		if a == b {
			continue
		}
		parts := strings.Split(k, "/")
		if slices.ContainsFunc(parts[1:], func(p string) bool { return slices.Contains(ignore, p) }) {
			continue
		}
		switch {
		case b == "":
			diffs = append(diffs, k+": gone")
		case a == "":
			diffs = append(diffs, k+": new")
		default:
			diffs = append(diffs, diffText(k, a, b)...)
		}
		if len(diffs) > 40 {
			return append(diffs[:40], "…")
		}
	}
	return diffs
}

func diffText(key, a, b string) []string {
	if parts := strings.Split(key, "/"); !strings.Contains(a, "\n") || parts[len(parts)-1] == "auxv" {
		return []string{fmt.Sprintf("%s: before %q, after %q", key, a, b)}
	}
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	var diffs []string
	for _, l := range la {
		if !slices.Contains(lb, l) {
			diffs = append(diffs, fmt.Sprintf("%s: before %q", key, l))
		}
	}
	for _, l := range lb {
		if !slices.Contains(la, l) {
			diffs = append(diffs, fmt.Sprintf("%s: after %q", key, l))
		}
	}
	return diffs
}
