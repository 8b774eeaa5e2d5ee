// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock of the events. A time namespace has another one.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // the kernel has had this clock for ever
	}
	return ts.Nano() - clockOffset()
}

// monotonicAt is the events' clock at a time of Go's, which runs as that one does. The closest of several looks counts: between two clocks
// the thread may have lost its processor, and stages would be beside their calls.
func monotonicAt(t time.Time) (at int64) {
	closest := int64(math.MaxInt64)
	for range 50 {
		before := monotonic()
		since := time.Since(t)
		after := monotonic()
		if gap := after - before; gap < closest {
			closest, at = gap, before+gap/2-int64(since)
		}
	}
	return at
}

// clockOffset is by how much CLOCK_MONOTONIC is later in this time namespace, ns (time_namespaces(7)). Kernels without them have none.
var clockOffset = sync.OnceValue(func() int64 {
	text, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var clock string
		var seconds, ns int64
		if _, err := fmt.Sscan(line, &clock, &seconds, &ns); err == nil && (clock == "monotonic" || clock == fmt.Sprint(unix.CLOCK_MONOTONIC)) {
			return seconds*int64(time.Second) + ns
		}
	}
	return 0
})
