// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"math"
	"math/bits"
)

// Buckets is how many buckets a histogram has. Bucket 0 counts zeros, bucket i values of [2^(i-1), 2^i) ns; the last
// one takes everything above too (2^46 ns are 19 hours).
const Buckets = 48

// Stats is what was measured of one probe in one context since it was placed. Times are in ns.
type Stats struct {
	Count  uint64 // hits; of a latency probe: calls that returned
	Total  uint64 // sum of all latencies
	Min    uint64
	Max    uint64
	Hist   [Buckets]uint64
	CPU    uint64 // sum of the time on CPU, if it was asked for
	Errors uint64 // of system calls: how many returned an error
	Nested uint64 // hits of other probes inside these calls: their cost is part of Total
}

// Losses is what a probe did not see, or not to its end. Zero everywhere is the promise that Count is exact.
type Losses struct {
	Missed   uint64 // hits that the kernel or the probe's own bookkeeping could not take
	Dropped  uint64 // events that found the ring full
	Unpaired uint64 // returns whose call began before the probe was placed
	Active   uint64 // calls that have not returned yet
	Unread   uint64 // hits that do not count because their predicate compares what was not in memory
	Ended    uint64 // calls that their task never came back from: it ended inside, as in exit_group
}

// A Cost is what probes themselves take on this machine, in ns, as the loader measured it. The zero Cost is unknown and
// corrects nothing.
type Cost struct {
	Bias float64 // how much longer than the call itself the latency of a call is
	Hit  float64 // what a hit of another probe inside the call adds to it
}

// Bucket gives the bucket of the histogram that counts a latency of v ns.
func Bucket(v uint64) int { return min(bits.Len64(v), Buckets-1) }

// BucketRange gives the latencies that bucket i counts, in ns: low and those above it, below high. The last bucket's
// high is the largest number there is. i must be in [0, Buckets).
func BucketRange(i int) (low, high uint64) {
	if i == 0 {
		return 0, 1
	}
	if i >= Buckets-1 {
		return 1 << (Buckets - 2), math.MaxUint64
	}
	return 1 << (i - 1), 1 << i
}

// Add adds what was measured elsewhere: on another CPU, or in another context.
func (s *Stats) Add(o Stats) {
	if o.Count == 0 {
		return
	}
	if s.Count == 0 || o.Min < s.Min {
		s.Min = o.Min
	}
	s.Max = max(s.Max, o.Max)
	s.Count += o.Count
	s.Total += o.Total
	s.CPU += o.CPU
	s.Errors += o.Errors
	s.Nested += o.Nested
	for i, n := range o.Hist {
		s.Hist[i] += n
	}
}

// Sub gives what was measured since an earlier snapshot of the same probe. Min and Max are then the bounds of the lowest
// and the highest bucket that grew, as the exact values of an interval are not kept. What is smaller than before (the
// probe was placed anew) gives 0.
func (s Stats) Sub(before Stats) Stats {
	d := Stats{
		Count: minus(s.Count, before.Count), Total: minus(s.Total, before.Total), CPU: minus(s.CPU, before.CPU),
		Errors: minus(s.Errors, before.Errors), Nested: minus(s.Nested, before.Nested),
	}
	first := true
	for i := range s.Hist {
		d.Hist[i] = minus(s.Hist[i], before.Hist[i])
		if d.Hist[i] == 0 {
			continue
		}
		low, high := BucketRange(i)
		if first {
			d.Min = max(low, s.Min)
			first = false
		}
		d.Max = min(high-1, s.Max)
	}
	return d
}

func minus(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// Add adds what another probe of the same row did not see.
func (l *Losses) Add(o Losses) {
	l.Missed += o.Missed
	l.Dropped += o.Dropped
	l.Unpaired += o.Unpaired
	l.Active += o.Active
	l.Ended += o.Ended
	l.Unread += o.Unread
}

// Avg is the average latency in ns; 0 if there was none.
func (s Stats) Avg() float64 {
	if s.Count == 0 {
		return 0
	}
	return float64(s.Total) / float64(s.Count)
}

// Percentile gives the latency in ns that p percent of all calls do not exceed. The histogram knows each latency to its
// power of two only; inside that, values are taken as spread evenly, and never outside Min and Max. So the answer is at
// most twice the true value, and at least half of it. It is 0 if there was no call.
func (s Stats) Percentile(p float64) uint64 {
	var all uint64
	for _, n := range s.Hist {
		all += n
	}
	if all == 0 {
		return 0
	}
	want := min(max(p, 0), 100) / 100 * float64(all)
	var below float64
	for i, n := range s.Hist {
		if n == 0 || below+float64(n) < want {
			below += float64(n)
			continue
		}
		low, high := BucketRange(i)
		from, to := float64(max(low, s.Min)), float64(min(high, s.Max))
		v := from
		if to > from {
			v += (to - from) * (want - below) / float64(n)
		}
		if v >= float64(s.Max) { // a float64 can be above the largest uint64
			return s.Max
		}
		return min(max(uint64(math.Round(v)), s.Min), s.Max)
	}
	return s.Max
}

// Corrected gives the sum and the average of the latencies without what the probes added: their bias in each call, and
// the hits of other probes inside. Neither is below 0.
func (s Stats) Corrected(c Cost) (total, avg float64) {
	if s.Count == 0 {
		return 0, 0
	}
	total = max(0, float64(s.Total)-float64(s.Count)*c.Bias-float64(s.Nested)*c.Hit)
	return total, total / float64(s.Count)
}

// BelowFloor says whether the probe measured mostly itself: its average is less than twice the bias.
func (s Stats) BelowFloor(c Cost) bool { return s.Count > 0 && s.Avg() < 2*c.Bias }
