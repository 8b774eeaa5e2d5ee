// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"math"
	"strconv"
)

// FormatNS writes a time of so many ns with three digits and a unit: 870ns, 1.24µs, 12.4ms, 3.02s.
func FormatNS(ns float64) string {
	switch {
	case math.IsNaN(ns):
		return "-"
	case ns < 0:
		return "-" + FormatNS(-ns)
	case ns < 999.5:
		if ns == math.Trunc(ns) {
			return strconv.FormatFloat(ns, 'f', 0, 64) + "ns" // a whole number is exact: no 5.00ns
		}
		return threeDigits(ns) + "ns"
	case ns < 999.5e3:
		return threeDigits(ns/1e3) + "µs"
	case ns < 999.5e6:
		return threeDigits(ns/1e6) + "ms"
	}
	return threeDigits(ns/1e9) + "s"
}

// formatRate writes a number a second with three digits: 12, 1.24k, 3.02M.
func formatRate(rate float64) string {
	switch {
	case math.IsNaN(rate) || rate < 0:
		return "-"
	case rate == 0:
		return "0"
	case rate < 999.5:
		return threeDigits(rate)
	case rate < 999.5e3:
		return threeDigits(rate/1e3) + "k"
	case rate < 999.5e6:
		return threeDigits(rate/1e6) + "M"
	}
	return threeDigits(rate/1e9) + "G"
}

// threeDigits writes a number with as many places behind the point as make three digits, and never fewer than all those
// before it.
func threeDigits(v float64) string {
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}
