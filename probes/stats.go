// SPDX-License-Identifier: Apache-2.0

package probes

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

// Losses is what a probe did not see. Zero everywhere is the promise that Count is exact.
type Losses struct {
	Missed   uint64 // hits that the kernel or the probe's own bookkeeping could not take
	Dropped  uint64 // events that found the ring full
	Unpaired uint64 // returns whose call began before the probe was placed
	Active   uint64 // calls that have not returned yet
}
