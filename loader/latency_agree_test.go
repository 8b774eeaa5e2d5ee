// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loader_test

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"testing"

	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/probes"
)

// TestLatencyAgrees compares histograms of the same calls with bpftrace's: those of a function of two known durations.
func TestLatencyAgrees(t *testing.T) {
	needKernelProbes(t)
	const function, sleeps = "hrtimer_nanosleep", 16
	bt := bpftrace(t, fmt.Sprintf(`kprobe:%[1]s /comm == "hits"/ { @s[tid] = nsecs; } `+
		`kretprobe:%[1]s /@s[tid]/ { @hist = hist(nsecs - @s[tid]); delete(@s[tid]); }`, function))
	h := startHits(t, wrapped(t, bt))
	sessions := map[ebpf.Mechanism]*ebpf.Session{}
	for _, m := range functionMechanisms() {
		sessions[m] = open(t, m, function+`%latency if $comm == "hits"`) // Go's own threads sleep, too
	}
	const short, long = 1_000_000, 20_000_000
	for _, ns := range []uint64{short, long} {
		do(t, h, fmt.Sprintf("sleep %d %d 1", sleeps, ns))
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	const calls = 2 * sleeps
	theirs := bpftraceHist(t, bt.output, "hist")
	if n := total(theirs); n != calls {
		t.Fatalf("bpftrace counted %d calls, expected %d", n, calls)
	}
	for m, s := range sessions {
		r := readings(s)[function]
		st := r.Stats
		// The few places that a return probe has are for all tasks, and other programs sleep, too.
		missed := uint64(0)
		if m == ebpf.MechanismKprobeMulti || m == ebpf.MechanismKprobeSession {
			missed = min(r.Losses.Missed, 2)
		}
		if st.Count > calls || st.Count+missed < calls {
			t.Errorf("%s counted %d calls and missed %d, expected %d", m, st.Count, r.Losses.Missed, calls)
		}
		if least := uint64(short+long) * (st.Count - missed) / 2; st.Min < short || st.Total < least {
			t.Errorf("%s: the shortest call took %d ns, all together %d; expected at least %d and %d", m, st.Min, st.Total, short, least)
		}
		for _, share := range []float64{0, 0.25, 0.6, 0.75} {
			a, b := bucketOf(&st.Hist, share), bucketOf(theirs, share)
			if a-b > 1 || b-a > 1 {
				t.Errorf("%s: %.0f %% of the calls took up to 2^%d ns, bpftrace says 2^%d\nours   %v\ntheirs %v", m, share*100, a, b, st.Hist, *theirs)
			}
		}
	}
}

// bpftraceHist reads a histogram that bpftrace printed. Its buckets are ours: powers of two.
func bpftraceHist(t *testing.T, file, name string) *[probes.Buckets]uint64 {
	t.Helper()
	var ranges []struct{ Min, Count uint64 }
	if err := json.Unmarshal(bpftraceMaps(t, file)[name], &ranges); err != nil {
		t.Fatalf("bpftrace: %s: %v", name, err)
	}
	var hist [probes.Buckets]uint64
	for _, r := range ranges {
		hist[min(bits.Len64(r.Min), probes.Buckets-1)] += r.Count
	}
	return &hist
}

func total(hist *[probes.Buckets]uint64) (n uint64) {
	for _, v := range hist {
		n += v
	}
	return n
}

// bucketOf gives the bucket up to which a share of the calls is.
func bucketOf(hist *[probes.Buckets]uint64, share float64) int {
	want, seen := uint64(share*float64(total(hist))), uint64(0)
	for i, n := range hist {
		if seen += n; seen > want {
			return i
		}
	}
	return len(hist)
}
