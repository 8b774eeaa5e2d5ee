// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/trapline/trapline/internal/columns"
)

// bar fills a bar's last character by eighths.
var bar = []string{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}

// defaultWidth is that of a histogram whose width is not limited.
const defaultWidth = 80

// WriteHist writes a row's histogram for people, in one Write: a line a power of two, from the first that has calls to
// the last, with its range, how many calls it has, their part of all, and a bar. A line takes at most width characters;
// 0 stands for 80.
func WriteHist(w io.Writer, r Row, width int) error {
	if width <= 0 {
		width = defaultWidth
	}
	var b strings.Builder
	for _, line := range columns.Wrap(r.summary(), width, "  ") {
		b.WriteString(line + "\n")
	}
	first, last := -1, -1
	var all, most uint64
	for i, n := range r.Stats.Hist {
		if n == 0 {
			continue
		}
		if first < 0 {
			first = i
		}
		last = i
		all += n
		most = max(most, n)
	}
	if first < 0 {
		_, err := io.WriteString(w, b.String())
		return err
	}
	digits := len(strconv.FormatUint(most, 10))
	for i := first; i <= last; i++ {
		n := r.Stats.Hist[i]
		label := fmt.Sprintf("%18s  %*d %5.1f%% ", rangeName(i), digits, n, 100*float64(n)/float64(all))
		room := max(0, width-utf8.RuneCountInString(label)-2)
		fmt.Fprintf(&b, "%s│%s\n", label, drawBar(n, most, room))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// summary is the line above a histogram.
func (r *Row) summary() string {
	s := columns.Printable(r.Probe)
	if r.Mechanism != "" {
		s += " (" + columns.Printable(r.Mechanism) + ")"
	}
	if r.Context != 0 || r.ContextName != "" {
		s += ", context " + columns.Printable(r.contextName())
	}
	s += fmt.Sprintf(": %d hits", r.Stats.Count)
	if r.HasLatency && r.Stats.Count > 0 {
		s += fmt.Sprintf(", average %s", FormatNS(r.Stats.Avg()))
		if r.Cost != (Cost{}) {
			_, avg := r.Stats.Corrected(r.Cost)
			s += fmt.Sprintf(" (corrected %s)", FormatNS(avg))
		}
		s += fmt.Sprintf(", p50 %s, p99 %s, max %s", FormatNS(float64(r.Stats.Percentile(50))), FormatNS(float64(r.Stats.Percentile(99))), FormatNS(float64(r.Stats.Max)))
	}
	if r.Losses.Missed > 0 {
		s += fmt.Sprintf(", %d missed", r.Losses.Missed)
	}
	if r.below() {
		s += ", below the noise floor"
	}
	return s
}

// rangeName names a bucket's range.
func rangeName(i int) string {
	low, high := BucketRange(i)
	switch i {
	case 0:
		return "0"
	case Buckets - 1:
		return FormatNS(float64(low)) + " …"
	}
	return "[" + FormatNS(float64(low)) + ", " + FormatNS(float64(high)) + ")"
}

// drawBar draws n of most in room characters; what is more than nothing can be seen.
func drawBar(n, most uint64, room int) string {
	if n == 0 || room <= 0 {
		return ""
	}
	eighths := max(1, int(float64(n)/float64(most)*float64(8*room)))
	return strings.Repeat("█", eighths/8) + bar[eighths%8]
}
