// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/trapline/trapline/internal/columns"
)

// A Row is what one probe measured in one context.
type Row struct {
	Probe       string // as shown: the place with its kind
	Mechanism   string // how it was placed, in the backend's words: "fentry", "kprobe.session" …
	Context     uint32 // the number last given to loader.SetContext when these calls began
	ContextName string // what that number means; "" if there is only one
	HasLatency  bool   // the times in Stats mean something
	HasCPU      bool   // Stats.CPU was measured
	HasErrors   bool   // Stats.Errors was counted
	Stats       Stats
	Losses      Losses
	Cost        Cost
	Rate        float64 // hits a second lately; see SetRates
}

// A Table is a snapshot of everything that was measured.
type Table struct {
	Rows    []Row
	Elapsed time.Duration // since the probes were placed
	Time    time.Time     // when the rows were read; the zero time is left out of JSON
	Final   bool          // no later table follows; only JSON shows it
	Sort    Column        // the column that decides the order
	Reverse bool          // the other way round: numbers from the smallest, names from the last
	Notes   []string      // more lines below the table, after its own
}

// key says which rows of two snapshots belong together.
type key struct {
	probe, mechanism string
	context          uint32
}

func (r *Row) key() key { return key{r.Probe, r.Mechanism, r.Context} }

// SetRates sets every row's Rate to what happened since an earlier snapshot; if that is nil, since the probes were
// placed.
func (t *Table) SetRates(before *Table) {
	counts := map[key]uint64{}
	elapsed := t.Elapsed
	if before != nil {
		elapsed -= before.Elapsed
		for i := range before.Rows {
			counts[before.Rows[i].key()] += before.Rows[i].Stats.Count
		}
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		r.Rate = 0
		if elapsed > 0 {
			r.Rate = float64(minus(r.Stats.Count, counts[r.key()])) / elapsed.Seconds()
		}
	}
}

// Since gives a table of the interval since an earlier snapshot: the differences of statistics and losses, and the rate.
// Calls that have not returned are those of now. Rows in which nothing happened stay, with zeros.
func (t *Table) Since(before *Table) *Table {
	d := *t
	d.Rows = slices.Clone(t.Rows)
	d.SetRates(before)
	d.Elapsed = t.Elapsed - before.Elapsed
	old := map[key]*Row{}
	for i := range before.Rows {
		old[before.Rows[i].key()] = &before.Rows[i]
	}
	for i := range d.Rows {
		r := &d.Rows[i]
		if b := old[r.key()]; b != nil {
			r.Stats = r.Stats.Sub(b.Stats)
			r.Losses.Missed = minus(r.Losses.Missed, b.Losses.Missed)
			r.Losses.Dropped = minus(r.Losses.Dropped, b.Losses.Dropped)
			r.Losses.Unpaired = minus(r.Losses.Unpaired, b.Losses.Unpaired)
			r.Losses.Ended = minus(r.Losses.Ended, b.Losses.Ended)
			r.Losses.Unread = minus(r.Losses.Unread, b.Losses.Unread)
		}
	}
	return &d
}

// Sorted gives a copy of the rows in the table's order: by its column, the largest first or the names from a to z; then by
// probe, context and mechanism.
func (t *Table) Sorted() []Row {
	rows := slices.Clone(t.Rows)
	slices.SortStableFunc(rows, func(a, b Row) int {
		c := t.Sort.compare(&a, &b)
		if t.Reverse {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.Probe, b.Probe), cmp.Compare(a.Context, b.Context), cmp.Compare(a.Mechanism, b.Mechanism))
	})
	return rows
}

// Narrow columns keep at least this many characters of a name before other columns are left out.
const (
	minProbe   = 16
	minContext = 7
)

// WriteText writes the table for people, in one Write. It takes at most width characters a line, which cuts names in
// their middle and then leaves out columns, and at most height lines, which leaves out the last rows. 0 stands for as
// many as there are, as for a pipe. What was missed, or is below the noise floor, is said below the table.
func (t *Table) WriteText(w io.Writer, width, height int) error {
	rows := t.Sorted()
	var notes []string
	for _, note := range t.notes() {
		notes = append(notes, columns.Wrap(note, width, "  ")...)
	}
	left := 0
	if room := max(1, height-2-len(notes)); height > 0 && len(rows) > room {
		room = max(1, room-1) // for the line that says how many are left out
		left = len(rows) - room
		rows = rows[:room]
	}
	shown := t.columns()
	header, right, cells := t.cells(shown, rows)
	for _, drop := range dropped {
		if width <= 0 || columns.Total(squeezed(shown, columns.Widths(header, cells))) <= width {
			break
		}
		shown = slices.DeleteFunc(shown, func(c Column) bool { return c == drop })
		header, right, cells = t.cells(shown, rows)
	}
	if width > 0 {
		squeeze(shown, header, cells, width)
	}
	var b strings.Builder
	columns.Write(&b, header, right, cells)
	if left > 0 {
		fmt.Fprintf(&b, "… and %d more\n", left)
	}
	text := b.String()
	if width > 0 {
		text = cutLines(text, width)
	}
	for _, note := range notes {
		text += note + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// cells gives the header, the alignment and the cells of the columns that are shown.
func (t *Table) cells(shown []Column, rows []Row) (header []string, right string, cells [][]string) {
	for _, c := range shown {
		header = append(header, c.header())
		right += choose(c == ColumnProbe || c == ColumnContext, "l", "r")
	}
	for i := range rows {
		var line []string
		for _, c := range shown {
			line = append(line, c.cell(&rows[i]))
		}
		cells = append(cells, line)
	}
	return header, right, cells
}

// squeezed gives the widths that remain if names are cut as far as they may be.
func squeezed(shown []Column, widths []int) []int {
	for i, c := range shown {
		switch c {
		case ColumnProbe:
			widths[i] = min(widths[i], minProbe)
		case ColumnContext:
			widths[i] = min(widths[i], minContext)
		}
	}
	return widths
}

// squeeze cuts names so that the table fits: first those of contexts, then those of probes.
func squeeze(shown []Column, header []string, cells [][]string, width int) {
	widths := columns.Widths(header, cells)
	smallest := squeezed(shown, slices.Clone(widths))
	for _, c := range []Column{ColumnContext, ColumnProbe} {
		i := slices.Index(shown, c)
		over := columns.Total(widths) - width
		if i < 0 || over <= 0 {
			continue
		}
		widths[i] = max(smallest[i], widths[i]-over)
		for _, row := range cells {
			row[i] = columns.CutMiddle(row[i], widths[i])
		}
	}
}

// cutLines cuts each line behind width characters.
func cutLines(text string, width int) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if utf8.RuneCountInString(line)-1 > width {
			lines[i] = string([]rune(line)[:width]) + "\n"
		}
	}
	return strings.Join(lines, "")
}

// notes says in words what the numbers alone would hide; each only if there is such a thing.
func (t *Table) notes() []string {
	var lost Losses
	floor, bias := false, 0.0
	for i := range t.Rows {
		r := &t.Rows[i]
		lost.Add(r.Losses)
		if r.below() {
			floor, bias = true, max(bias, r.Cost.Bias)
		}
	}
	var notes []string
	if floor {
		notes = append(notes, fmt.Sprintf("~ below the noise floor: shorter than twice what the probe itself takes (%s); CORRECT is a rough guess", FormatNS(bias)))
	}
	if lost.Missed > 0 {
		notes = append(notes, fmt.Sprintf("missed: %s could not be counted; COUNT and TOTAL are too low by that", number(lost.Missed, "hit")))
	}
	if lost.Dropped > 0 {
		notes = append(notes, fmt.Sprintf("dropped: %s found the buffer full and can't be shown; the counts are right", number(lost.Dropped, "event")))
	}
	if lost.Unpaired > 0 {
		notes = append(notes, fmt.Sprintf("unpaired: %s from before the probe was placed returned; not counted", number(lost.Unpaired, "call")))
	}
	if lost.Unread > 0 {
		notes = append(notes, fmt.Sprintf("unread: %s not counted, as what the predicate compares was not in memory", number(lost.Unread, "hit")))
	}
	if lost.Ended > 0 {
		notes = append(notes, fmt.Sprintf("ended: %s whose task ended before they returned; not counted", number(lost.Ended, "call")))
	}
	if lost.Active > 0 {
		notes = append(notes, fmt.Sprintf("active: %s in progress; not counted yet", number(lost.Active, "call")))
	}
	for _, note := range t.Notes {
		notes = append(notes, columns.Printable(note))
	}
	return notes
}

// number writes so many of a thing.
func number(n uint64, thing string) string {
	return fmt.Sprintf("%d %s", n, choose(n == 1, thing, thing+"s"))
}

// below says whether the row's latency is mostly the probe's own.
func (r *Row) below() bool { return r.HasLatency && r.Stats.BelowFloor(r.Cost) }
