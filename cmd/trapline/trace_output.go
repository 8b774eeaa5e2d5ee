// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/trapline/trapline/internal/columns"
	"github.com/trapline/trapline/loader"
	"github.com/trapline/trapline/probes"
)

// output is where tables and events go.
type output struct {
	file     *os.File
	own      bool // opened here
	terminal bool
}

// openOutput opens the file that -o names. Without one it is standard output, or with a command, which needs that itself,
// standard error.
func openOutput(name string, command bool) (*output, error) {
	out := &output{file: os.Stdout}
	switch {
	case name == "" && command:
		out.file = os.Stderr
	case name != "" && name != "-":
		f, err := os.Create(name)
		if err != nil {
			return nil, fmt.Errorf("--output: %w", err)
		}
		out.file, out.own = f, true
	}
	out.terminal = term.IsTerminal(int(out.file.Fd()))
	return out, nil
}

// width is how many columns a line may have; 0 if there is no limit.
func (o *output) width() int {
	width, _ := o.size()
	return width
}

// size is that of the terminal; 0, 0 if there is none.
func (o *output) size() (width, height int) {
	if !o.terminal {
		return 0, 0
	}
	width, height, err := term.GetSize(int(o.file.Fd()))
	if err != nil || width <= 0 || height <= 0 { // a serial line may not know
		return 80, 24
	}
	return width, height
}

func (o *output) write(text string) error {
	if _, err := io.WriteString(o.file, text); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

func (o *output) close() error {
	if !o.own {
		return nil
	}
	if err := o.file.Close(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// live says whether the table is redrawn in place: on a terminal that is not also the command's, unless that is asked for
// by --interval.
func (t *tracer) live(command bool) bool {
	return t.out.terminal && !t.s.json && (!command || t.o.intervalGiven || !term.IsTerminal(int(os.Stdout.Fd())))
}

// warn says what could not be placed, and what else may surprise.
func (t *tracer) warn() error {
	for _, w := range t.session.Warnings() {
		if t.s.json {
			if err := t.out.writeJSON(warningJSON{"warning", w.Error()}); err != nil {
				return err
			}
		}
	}
	if t.s.json || t.s.verbosity < defaultVerbosity {
		return nil
	}
	say := func(format string, args ...any) {
		fmt.Fprintln(t.app.stderr, "trace: "+columns.Printable(fmt.Sprintf(format, args...)))
	}
	failed, other := t.failed()
	switch {
	case len(failed) == 1 || t.s.verbosity > defaultVerbosity:
		for _, err := range failed {
			say("%v", err)
		}
	case len(failed) > 1:
		say("%d of %d places can't be probed (-v lists them all): %v", len(failed), len(failed)+len(t.session.Probes()), failed[0])
	}
	for _, err := range other {
		say("%v", err)
	}
	for _, spec := range t.specs {
		if len(spec.Args) > 0 && spec.If == nil && !t.o.events {
			say("a table does not show arguments (%s); --events does", spec.Text)
		}
	}
	return nil
}

// failed gives the warnings about places that can't be probed, and all others.
func (t *tracer) failed() (places, other []error) {
	for _, err := range t.session.Warnings() {
		var place *loader.PlaceError
		if errors.As(err, &place) {
			places = append(places, err)
		} else {
			other = append(other, err)
		}
	}
	return places, other
}

// print writes a table once.
func (t *tracer) print(table *probes.Table) error {
	shown, silent := t.shown(table)
	var b strings.Builder
	if t.s.json {
		if err := shown.WriteJSON(&b); err != nil {
			return err
		}
		if err := t.out.write(b.String()); err != nil || !table.Final {
			return err
		}
		return t.out.writeJSON(t.summary(table, silent))
	}
	width := t.out.width()
	b.WriteString(t.header(table.Elapsed, width))
	if err := shown.WriteText(&b, width, 0); err != nil {
		return err
	}
	if t.o.hist {
		if err := writeHistograms(&b, shown, width, 0); err != nil {
			return err
		}
	}
	if !table.Final {
		b.WriteByte('\n')
	}
	return t.out.write(b.String())
}

// shown gives the part of a table that is shown: without the places of a glob that have seen nothing, which it counts, and
// no more rows than asked for.
func (t *tracer) shown(table *probes.Table) (shown *probes.Table, silent int) {
	cut := *table
	cut.Notes = slices.Clone(table.Notes)
	cut.Rows = slices.DeleteFunc(table.Sorted(), func(r probes.Row) bool {
		nothing := t.globs[r.Probe] && r.Stats.Count == 0 && r.Losses == (probes.Losses{})
		if nothing {
			silent++
		}
		return nothing
	})
	if silent > 0 {
		cut.Notes = append(cut.Notes, count(silent, "probe", "probes")+" without a hit")
	}
	if n := len(cut.Rows) - t.o.maxRows; t.o.maxRows > 0 && n > 0 {
		cut.Rows = cut.Rows[:t.o.maxRows]
		cut.Notes = append(cut.Notes, count(n, "more row", "more rows"))
	}
	return &cut, silent
}

// header is the line above a table.
func (t *tracer) header(elapsed time.Duration, width int) string {
	s := fmt.Sprintf("%s, %s", probes.FormatNS(float64(elapsed)), count(len(t.session.Probes()), "probe", "probes"))
	if failed, _ := t.failed(); len(failed) > 0 {
		s += fmt.Sprintf(" (%d failed)", len(failed))
	}
	switch {
	case len(t.command) > 0:
		s += ", " + t.command[0]
	case len(t.o.pids) == 0:
		s += ", all processes"
	}
	for i, pid := range t.o.pids {
		s += []string{", pid ", " "}[min(i, 1)] + strconv.Itoa(pid)
	}
	s = columns.Printable(s)
	if width > 0 {
		s = columns.CutMiddle(s, width)
	}
	return s + "\n"
}

// writeHistograms writes one for each row with latencies, in the table's order. With a height, the last one is cut and
// others are left out.
func writeHistograms(b *strings.Builder, table *probes.Table, width, height int) error {
	var text strings.Builder
	for _, r := range table.Rows {
		if !r.HasLatency || r.Stats.Count == 0 {
			continue
		}
		text.WriteByte('\n')
		if err := probes.WriteHist(&text, r, width); err != nil {
			return err
		}
	}
	lines := strings.SplitAfter(text.String(), "\n")
	if height > 0 && len(lines) > height {
		lines = append(lines[:height-1], "…\n")
	}
	for _, line := range lines {
		b.WriteString(line)
	}
	return nil
}

// warningJSON is a place that could not be probed.
type warningJSON struct {
	Type    string `json:"type"` // "warning"
	Message string `json:"message"`
}

// summaryJSON is the last line.
type summaryJSON struct {
	Type         string `json:"type"` // "end"
	Time         string `json:"time"`
	Elapsed      int64  `json:"elapsed_ns"`
	Probes       int    `json:"probes"` // placed
	Failed       int    `json:"failed"` // places that could not be probed
	Silent       int    `json:"silent"` // places of globs without a hit: they have no line
	Events       uint64 `json:"events"` // lines of events
	Missed       uint64 `json:"missed"`
	SharedMissed uint64 `json:"shared_missed"` // in addition, of probes that share an attachment: of which one is not known
	Dropped      uint64 `json:"dropped"`
	Unpaired     uint64 `json:"unpaired"`
	Active       uint64 `json:"active"`
	Ended        uint64 `json:"ended"`
	Unread       uint64 `json:"unread"`
	Unfollowed   uint64 `json:"unfollowed"` // tasks that were started and could not be marked: they are not traced
}

func (t *tracer) summary(table *probes.Table, silent int) summaryJSON {
	var lost probes.Losses
	for i := range table.Rows {
		lost.Add(table.Rows[i].Losses)
	}
	shared, _ := t.session.SharedMissed()
	failed, _ := t.failed()
	return summaryJSON{
		Type: "end", Time: table.Time.Format(time.RFC3339Nano), Elapsed: table.Elapsed.Nanoseconds(),
		Probes: len(t.session.Probes()), Failed: len(failed), Silent: silent, Events: t.events.written(),
		Missed: lost.Missed, SharedMissed: shared, Dropped: lost.Dropped, Unpaired: lost.Unpaired, Active: lost.Active, Ended: lost.Ended, Unread: lost.Unread,
		Unfollowed: t.session.Unfollowed(),
	}
}

// writeJSON writes one line.
func (o *output) writeJSON(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return errors.Join(errors.New("write the result"), err)
	}
	return o.write(string(line) + "\n")
}
