// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// measure gives the statistics of these latencies.
func measure(latencies ...uint64) Stats {
	var s Stats
	for _, v := range latencies {
		one := Stats{Count: 1, Total: v, Min: v, Max: v}
		one.Hist[Bucket(v)] = 1
		s.Add(one)
	}
	return s
}

func TestBuckets(t *testing.T) {
	for v, want := range map[uint64]int{0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 1023: 10, 1024: 11, 1 << 45: 46, 1<<46 - 1: 46, 1 << 46: 47, math.MaxUint64: 47} {
		got := Bucket(v)
		if got != want {
			t.Errorf("Bucket(%d) = %d, want %d", v, got, want)
		}
		if low, high := BucketRange(got); v < low || v >= high && v != math.MaxUint64 {
			t.Errorf("bucket %d of %d has the range [%d, %d)", got, v, low, high)
		}
	}
	for i := 1; i < Buckets; i++ {
		low, _ := BucketRange(i)
		if _, high := BucketRange(i - 1); high != low {
			t.Errorf("bucket %d ends at %d, the next begins at %d", i-1, high, low)
		}
	}
}

func TestStatsAddSub(t *testing.T) {
	all := measure(100, 5000, 7)
	before := measure(100)
	d := all.Sub(before)
	if d.Count != 2 || d.Total != 5007 || d.Min != 7 || d.Max != 5000 || d.Hist[Bucket(100)] != 0 {
		t.Errorf("got %+v", d)
	}
	if d := all.Sub(measure(7, 5000)); d.Min != 64 || d.Max != 127 || d.Count != 1 {
		t.Errorf("of 100 ns alone: got min %d max %d count %d, want 64 127 1", d.Min, d.Max, d.Count)
	}
	if d := before.Sub(all); d != (Stats{}) {
		t.Errorf("less than before: got %+v", d)
	}
	s := Stats{}
	s.Add(measure(9))
	s.Add(Stats{})
	if s != measure(9) {
		t.Errorf("adding nothing changed %+v", s)
	}
	l := Losses{Missed: 1}
	l.Add(Losses{1, 2, 3, 4, 5, 6})
	if want := (Losses{2, 2, 3, 4, 5, 6}); l != want {
		t.Errorf("losses %+v, want %+v", l, want)
	}
}

func TestPercentile(t *testing.T) {
	if got := (Stats{}).Percentile(50); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
	one := measure(1000)
	for _, p := range []float64{-1, 0, 50, 99, 100, 200, math.Inf(1)} {
		if got := one.Percentile(p); got != 1000 {
			t.Errorf("p%v of 1000 alone is %d", p, got)
		}
	}
	if got := measure(0, 0, 0).Percentile(50); got != 0 {
		t.Errorf("of zeros: %d", got)
	}
	if got := measure(math.MaxUint64, math.MaxUint64).Percentile(99); got != math.MaxUint64 {
		t.Errorf("of the largest: %d", got)
	}
	// Whatever the distribution, the answer is in the true value's power of two, and grows with p.
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		values := make([]uint64, 1+r.IntN(500))
		for i := range values {
			values[i] = r.Uint64() >> (10 + r.IntN(54))
		}
		s := measure(values...)
		slices.Sort(values)
		last := uint64(0)
		for _, p := range []float64{1, 10, 50, 90, 99, 99.9, 100} {
			exact := values[max(0, int(math.Ceil(p/100*float64(len(values))))-1)]
			got := s.Percentile(p)
			low, high := BucketRange(Bucket(exact))
			if got < low || got > high || got < s.Min || got > s.Max || got < last {
				t.Fatalf("p%v of %d values: got %d, exact %d (bucket [%d, %d)), min %d, max %d, before %d", p, len(values), got, exact, low, high, s.Min, s.Max, last)
			}
			last = got
		}
	}
}

func TestCorrected(t *testing.T) {
	s := measure(1000, 3000)
	s.Nested = 10
	cost := Cost{Bias: 100, Hit: 50}
	if total, avg := s.Corrected(cost); total != 4000-200-500 || avg != 1650 {
		t.Errorf("got %v, %v; want 3300, 1650", total, avg)
	}
	if total, avg := s.Corrected(Cost{Bias: 1e6}); total != 0 || avg != 0 {
		t.Errorf("got %v, %v below 0", total, avg)
	}
	if total, avg := (Stats{}).Corrected(cost); total != 0 || avg != 0 {
		t.Errorf("of nothing: %v, %v", total, avg)
	}
	for bias, want := range map[float64]bool{0: false, 999: false, 1000: false, 1001: true} {
		if got := s.BelowFloor(Cost{Bias: bias}); got != want {
			t.Errorf("an average of 2000 with a bias of %v: below the floor %v, want %v", bias, got, want)
		}
	}
}
