// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
)

// show is trapline show: what is in a directory of images.
func (a *app) show(s *settings) int {
	sum, err := image.Describe(s.imagesDir)
	if err == nil {
		if s.json {
			err = writeJSON(a.stdout, sum)
		} else {
			err = writeSummary(a.stdout, sum)
		}
	}
	if err != nil {
		return a.fail("show", err)
	}
	return exitDone
}

// writeSummary prints one table a subject.
func writeSummary(w io.Writer, s *image.Summary) error {
	sums := "without checksums (not made by Trapline)"
	if s.Summed {
		sums = "with checksums"
	}
	if _, err := fmt.Fprintf(w, "%s: %s, %s, %s\n", s.Dir, count(len(s.Processes), "process", "processes"), size(s.Bytes), sums); err != nil {
		return err
	}
	if s.Parent != "" {
		if _, err := fmt.Fprintf(w, "pages that did not change are in %s\n", s.Parent); err != nil {
			return err
		}
	}
	if st := s.Stats; st != nil {
		if _, err := fmt.Fprintf(w, "frozen for %.1f ms\n", float64(st.Frozen)/1000); err != nil {
			return err
		}
	}
	for _, t := range []*table{processTable(s), memoryTable(s), segmentTable(s), fileTable(s), imageTable(s)} {
		if err := t.write(w); err != nil {
			return err
		}
	}
	return nil
}

// printable keeps names from images, which may hold anything, from moving the cursor.
func printable(s string) string {
	odd := func(r rune) bool { return !strconv.IsPrint(r) }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, odd) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func processTable(s *image.Summary) *table {
	t := &table{
		title: "Processes", header: []string{"PID", "PPID", "PGID", "SID", "threads", "state", "command", "program"},
		right: "rrrrrlll",
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		state := p.State
		switch status := unix.WaitStatus(p.ExitCode); {
		case state != "dead" && state != "zombie":
		case status.Signaled():
			state += ", signal " + strconv.Itoa(int(status.Signal()))
		default:
			state += ", exit " + strconv.Itoa(status.ExitStatus())
		}
		// The indentation of a deep tree would be wider than any screen.
		t.add(number(p.PID), number(p.PPID), number(p.PGID), number(p.SID), strconv.Itoa(len(p.Threads)), state,
			strings.Repeat("  ", min(p.Depth, 20))+p.Comm, p.Exe)
	}
	return t
}

func memoryTable(s *image.Summary) *table {
	t := &table{
		title:  "Memory",
		header: []string{"PID", "kind", "VMAs", "mapped", "dumped", "in parent", "zero", "private", "shared"},
		right:  "rlrrrrrrr",
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		m := p.Memory
		if m == nil {
			continue
		}
		t.add(number(p.PID), p.Comm, strconv.Itoa(m.VMAs), size(m.Mapped), size(m.Dumped), size(m.Parent), size(m.Zero), size(m.Private), size(m.Shared))
		for _, k := range m.Kinds {
			t.add("", "  "+k.Kind, strconv.Itoa(k.VMAs), size(k.Mapped), size(k.Dumped), "", "", "", "")
		}
	}
	return t
}

func segmentTable(s *image.Summary) *table {
	t := &table{title: "Shared memory", header: []string{"id", "what", "size", "dumped", "mapped by VMAs"}, right: "rlrrr"}
	for _, g := range s.Shared {
		t.add(strconv.FormatUint(g.ID, 10), g.Name, size(g.Size), size(g.Dumped), strconv.Itoa(g.Users))
	}
	return t
}

func fileTable(s *image.Summary) *table {
	t := &table{title: "Descriptors", header: []string{"PID", "FD", "file", "kind", "flags", "position", "what"}, right: "rrrllrl"}
	owner := map[uint32]uint32{} // of a table of descriptors: who was listed with it
	for i := range s.Processes {
		p := &s.Processes[i]
		if first, ok := owner[p.FilesID]; ok && len(p.Files) > 0 {
			t.add(number(p.PID), "", "", "", "", "", fmt.Sprintf("shares those of %d", first))
			continue
		}
		owner[p.FilesID] = p.PID
		for _, f := range p.Files {
			flags := f.Flags
			if f.CloExec {
				flags += ",cloexec"
			}
			pos := ""
			if f.Kind == "reg" || f.Kind == "memfd" {
				pos = strconv.FormatUint(f.Pos, 10)
			}
			t.add(number(p.PID), number(f.FD), number(f.ID), f.Kind, flags, pos, f.What)
		}
	}
	return t
}

func imageTable(s *image.Summary) *table {
	t := &table{title: "Images", header: []string{"image", "of", "files", "size"}, right: "llrr"}
	for _, g := range s.Images {
		t.add(g.Kind, g.Owner, strconv.Itoa(g.Files), size(g.Bytes))
	}
	return t
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// size prints bytes with a unit, three digits at least.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
