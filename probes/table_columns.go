// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/trapline/trapline/internal/columns"
)

// A Column is one of a Table's.
type Column uint8

// The columns. ColumnTotal, the zero value, orders rows without latencies by their counts.
const (
	ColumnTotal Column = iota
	ColumnProbe
	ColumnContext
	ColumnCount
	ColumnRate
	ColumnAvg
	ColumnCorrected
	ColumnP50
	ColumnP99
	ColumnMax
	ColumnCPU
	ColumnErrors
	ColumnMissed
)

// shownColumns are all columns from left to right.
var shownColumns = []Column{
	ColumnProbe, ColumnContext, ColumnCount, ColumnRate, ColumnTotal, ColumnAvg, ColumnCorrected, ColumnP50, ColumnP99, ColumnMax,
	ColumnCPU, ColumnErrors, ColumnMissed,
}

// dropped are the columns that a narrow terminal goes without, the first one first.
var dropped = []Column{ColumnP50, ColumnMax, ColumnRate, ColumnCPU, ColumnCorrected, ColumnContext, ColumnTotal}

// columnNames are the names by which a user asks for an order.
var columnNames = [...]string{
	ColumnTotal: "total", ColumnProbe: "probe", ColumnContext: "context", ColumnCount: "count", ColumnRate: "rate", ColumnAvg: "avg",
	ColumnCorrected: "corrected", ColumnP50: "p50", ColumnP99: "p99", ColumnMax: "max", ColumnCPU: "cpu", ColumnErrors: "errors",
	ColumnMissed: "missed",
}

// String gives the name by which ParseSort knows the column.
func (c Column) String() string {
	if int(c) < len(columnNames) {
		return columnNames[c]
	}
	return "column " + strconv.Itoa(int(c))
}

// ParseSort gives the column of a name, as in the table's header or in small letters. The error names all of them.
func ParseSort(name string) (Column, error) {
	name = strings.ToLower(name)
	for i := range columnNames {
		if c := Column(i); name == c.String() || name == strings.ToLower(c.header()) {
			return c, nil
		}
	}
	hint := "columns are " + strings.Join(columnNames[:], ", ")
	if near := Nearest(name, columnNames[:], 1); near != nil {
		hint = "did you mean " + near[0] + "?"
	}
	return 0, fmt.Errorf("there is no column %q to sort by; %s", shorten(name, 40), hint)
}

// header is what stands above the column.
func (c Column) header() string {
	switch c {
	case ColumnRate:
		return "RATE/s"
	case ColumnCorrected:
		return "CORRECT"
	}
	return strings.ToUpper(c.String())
}

// columns gives the columns that have something to show.
func (t *Table) columns() []Column {
	var latency, context, rate, cost, cpu, errors bool
	for i := range t.Rows {
		r := &t.Rows[i]
		latency = latency || r.HasLatency
		context = context || r.Context != 0 || r.ContextName != ""
		rate = rate || r.Rate > 0
		cost = cost || r.HasLatency && r.Cost != Cost{}
		cpu = cpu || r.HasCPU
		errors = errors || r.HasErrors
	}
	var shown []Column
	for _, c := range shownColumns {
		show := true
		switch c {
		case ColumnContext:
			show = context
		case ColumnRate:
			show = rate || t.Elapsed > 0
		case ColumnTotal, ColumnAvg, ColumnP50, ColumnP99, ColumnMax:
			show = latency
		case ColumnCorrected:
			show = cost
		case ColumnCPU:
			show = cpu
		case ColumnErrors:
			show = errors
		}
		if show {
			shown = append(shown, c)
		}
	}
	return shown
}

// cell writes a row's value.
func (c Column) cell(r *Row) string {
	switch c {
	case ColumnProbe:
		return columns.Printable(r.Probe)
	case ColumnContext:
		return columns.Printable(r.contextName())
	case ColumnCount, ColumnMissed:
		return strconv.FormatUint(uint64(c.value(r)), 10)
	case ColumnRate:
		return formatRate(r.Rate)
	case ColumnErrors:
		if !r.HasErrors {
			return "-"
		}
		return strconv.FormatUint(r.Stats.Errors, 10)
	case ColumnCPU:
		if !r.HasCPU {
			return "-"
		}
	default:
		if !r.HasLatency || r.Stats.Count == 0 {
			return "-"
		}
		if c == ColumnCorrected && r.Cost == (Cost{}) {
			return "-"
		}
	}
	s := FormatNS(c.value(r))
	if r.below() && (c == ColumnAvg || c == ColumnCorrected) {
		s = "~" + s
	}
	return s
}

func (r *Row) contextName() string {
	if r.ContextName == "" {
		return strconv.FormatUint(uint64(r.Context), 10)
	}
	return r.ContextName
}

// value is the number that the column shows and sorts by.
func (c Column) value(r *Row) float64 {
	switch c {
	case ColumnTotal:
		return float64(r.Stats.Total)
	case ColumnCount:
		return float64(r.Stats.Count)
	case ColumnRate:
		return r.Rate
	case ColumnAvg:
		return r.Stats.Avg()
	case ColumnCorrected:
		_, avg := r.Stats.Corrected(r.Cost)
		return avg
	case ColumnP50:
		return float64(r.Stats.Percentile(50))
	case ColumnP99:
		return float64(r.Stats.Percentile(99))
	case ColumnMax:
		return float64(r.Stats.Max)
	case ColumnCPU:
		return float64(r.Stats.CPU)
	case ColumnErrors:
		return float64(r.Stats.Errors)
	case ColumnMissed:
		return float64(r.Losses.Missed)
	}
	return 0
}

// compare orders two rows by the column: names from a to z, numbers from the largest.
func (c Column) compare(a, b *Row) int {
	switch c {
	case ColumnProbe:
		return cmp.Compare(a.Probe, b.Probe)
	case ColumnContext:
		return cmp.Compare(a.Context, b.Context)
	case ColumnTotal:
		return cmp.Or(cmp.Compare(b.Stats.Total, a.Stats.Total), cmp.Compare(b.Stats.Count, a.Stats.Count))
	}
	return cmp.Compare(c.value(b), c.value(a))
}
