// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"math"
	"slices"
	"time"

	"golang.org/x/perf/benchmath"
)

// A Method is how a comparison decides what is noise.
//
// With two or more runs on each side, the spread between the runs decides: Mann and Whitney's U test with four or more on each side,
// which assumes nothing of how times are spread, and Welch's t test with fewer, as the U test can then prove nothing; it assumes that
// they are spread normally. A difference is one if p is below 0.05 and it is at least 1 % of the larger side. Of twenty rows with no
// difference, one is then expected to be called one all the same: the rows are not corrected for how many they are.
//
// With a single run on a side, only the spread of the calls within the run is known. The 95 % error of a part is t·√calls·deviation, by
// Student's t for so many calls, times the share of its calls' time that is its own. It is at most half of the part's time, and just
// that for a part of one call: few calls of very different lengths differ by what they do, which is no noise. The errors of parts
// add up to a stage's, and those of stages to the total's, as roots of the sums of squares. To each, and to what no probe explains, 5 %
// of the time is added in the same way: for what differs from run to run and not within one. A difference is one if it is larger
// than the errors of both sides together. That can't see anything that moved a whole run: another layout of memory, another CPU's
// speed, a busy machine. Repeat the runs when it matters.
type Method string

// Methods.
const (
	Within Method = "within" // by the spread of calls within the runs
	Welch  Method = "welch"  // t test of 2 or 3 runs a side
	UTest  Method = "utest"  // U test of 4 or more runs a side
)

const (
	betweenRuns = 0.05 // of a time: what a single run can't know of others, a part of it
	mostError   = 0.5  // of a part's time: the most that its error can be, and that of a single call
	significant = 0.05 // p below it is no chance
	tooSmall    = 0.01 // of the larger side: the smallest difference between runs that counts
)

func methodFor(a, b int) Method {
	switch least := min(a, b); {
	case least >= 4:
		return UTest
	case least >= 2:
		return Welch
	}
	return Within
}

// A sample is one figure in each run of a side.
type sample struct {
	values []float64 // ns; 0 where a run does not have it
	errors []float64 // by the calls within each run, 95 %, ns
	there  bool      // some run has it
}

func (s *sample) add(v time.Duration, err float64) {
	s.values = append(s.values, float64(v))
	s.errors = append(s.errors, err)
}

// any says whether the figure is anything but 0.
func (s *sample) any() bool {
	return slices.ContainsFunc(s.values, func(v float64) bool { return v != 0 })
}

// error is that of the median of the runs, for method within. The spread within the runs gets no smaller by more of them here: it is
// that of the worst one.
func (s *sample) error() float64 {
	return math.Hypot(slices.Max(s.errors), betweenRuns*median(s.values))
}

func totals(runs []*Report) sample {
	s := sample{there: true}
	for _, r := range runs {
		s.add(r.Total, r.error())
	}
	return s
}

// error is what the calls within a run say about its total.
func (r *Report) error() float64 {
	var squares float64
	for i := range r.Stages {
		e := r.Stages[i].error()
		squares += e * e
	}
	return math.Sqrt(squares)
}

// frozen takes the total's error for the part of the total that it is.
func frozen(runs []*Report) sample {
	var s sample
	for _, r := range runs {
		err := 0.0
		if r.Total > 0 {
			err = r.error() * min(1, float64(r.Frozen)/float64(r.Total))
		}
		s.add(r.Frozen, err)
		s.there = s.there || r.Frozen > 0
	}
	return s
}

func walls(stages []*Stage) sample {
	return sampleOf(stages, func(s *Stage) (time.Duration, float64) { return s.Wall, s.error() })
}

func unexplained(stages []*Stage) sample {
	return sampleOf(stages, func(s *Stage) (time.Duration, float64) { return s.Unexplained, 0 })
}

func selves(parts []*Part) sample {
	return sampleOf(parts, func(p *Part) (time.Duration, float64) { return p.Self, p.error() })
}

func sampleOf[T any](of []*T, figures func(*T) (time.Duration, float64)) sample {
	var s sample
	for _, x := range of {
		if x == nil {
			s.add(0, 0)
			continue
		}
		s.add(figures(x))
		s.there = true
	}
	return s
}

func (s *Stage) error() float64 {
	var squares float64
	for i := range s.Parts {
		e := s.Parts[i].error()
		squares += e * e
	}
	return math.Sqrt(squares)
}

func (p *Part) error() float64 {
	switch {
	case p.Calls == 0 || p.Self == 0:
		return 0
	case p.Calls == 1:
		return mostError * float64(p.Self)
	}
	own := 1.0
	if p.Total > p.Self {
		own = float64(p.Self) / float64(p.Total)
	}
	return min(studentT(p.Calls-1)*math.Sqrt(float64(p.Calls))*p.StdDev*own, mostError*float64(p.Self))
}

// studentT gives how many standard errors 95 % of all samples lie within, by degrees of freedom.
func studentT(freedom uint64) float64 {
	table := []float64{12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228}
	if freedom >= 1 && freedom <= uint64(len(table)) {
		return table[freedom-1]
	}
	return 1.96 + 2.7/float64(freedom) // within 1 % of it
}

// delta compares a figure of both sides.
func (c *Comparison) delta(a, b sample) Delta {
	d := Delta{A: median(a.values), B: median(b.values)}
	d.Diff = d.B - d.A
	if d.A != 0 {
		percent := 100 * d.Diff / d.A
		d.Percent = &percent
	}
	differs := false
	if c.Method == Within {
		limit := math.Hypot(a.error(), b.error())
		d.Error = &limit
		differs = math.Abs(d.Diff) > limit
	} else {
		p := chance(a.values, b.values, c.Method)
		d.P = &p
		differs = p < significant && math.Abs(d.Diff) >= tooSmall*max(d.A, d.B) && d.Diff != 0
	}
	switch {
	case a.there && !b.there:
		d.Verdict = OnlyA
	case b.there && !a.there:
		d.Verdict = OnlyB
	case !differs:
		d.Verdict = Noise
	case d.Diff < 0:
		d.Verdict = Less
	default:
		d.Verdict = More
	}
	return d
}

// chance gives p, the probability that samples of the same thing differ as much as these.
func chance(a, b []float64, method Method) float64 {
	// The library sorts what it is given.
	thresholds := benchmath.DefaultThresholds
	sampleA := benchmath.NewSample(slices.Clone(a), &thresholds)
	sampleB := benchmath.NewSample(slices.Clone(b), &thresholds)
	if method == UTest {
		return benchmath.AssumeNothing.Compare(sampleA, sampleB).P
	}
	if constant(a) && constant(b) { // no variance: the t test has no answer
		if a[0] == b[0] {
			return 1
		}
		return 0
	}
	return benchmath.AssumeNormal.Compare(sampleA, sampleB).P
}

func constant(values []float64) bool { return slices.Max(values) == slices.Min(values) }

func callsDelta(a, b []*Part) CallsDelta {
	countA, thereA := callsOf(a)
	countB, thereB := callsOf(b)
	d := CallsDelta{A: median(countA), B: median(countB), Verdict: Noise}
	switch {
	case !thereB:
		d.Verdict = OnlyA
	case !thereA:
		d.Verdict = OnlyB
	case slices.Max(countA) < slices.Min(countB):
		d.Verdict = More
	case slices.Max(countB) < slices.Min(countA):
		d.Verdict = Less
	}
	return d
}

func callsOf(parts []*Part) (counts []float64, there bool) {
	for _, p := range parts {
		if p == nil {
			counts = append(counts, 0)
			continue
		}
		counts = append(counts, float64(p.Calls))
		there = true
	}
	return counts, there
}

// median gives the middle of values, of which there must be one.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func compareSize(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) }
