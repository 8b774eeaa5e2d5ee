// SPDX-License-Identifier: Apache-2.0

package procfs

import "golang.org/x/sys/unix"

// Limits are the resource limits by their RLIMIT_ number; unix.RLIM_INFINITY stands for unlimited.
type Limits [16]unix.Rlimit

// limitNames are the names in the order of the RLIMIT_ numbers of the generic ABI, which x86 and RISC-V use.
var limitNames = [len(Limits{})]string{
	"Max cpu time", "Max file size", "Max data size", "Max stack size", "Max core file size", "Max resident set",
	"Max processes", "Max open files", "Max locked memory", "Max address space", "Max file locks",
	"Max pending signals", "Max msgqueue size", "Max nice priority", "Max realtime priority",
	"Max realtime timeout",
}

// Limits reads /proc/PID/limits, which in contrast to prlimit(2) needs no right over a process of another user.
func (p *Proc) Limits() (*Limits, error) {
	l := new(Limits)
	return l, p.text("limits", l.parse)
}

// parse takes a heading and lines of "%-25s %-20s %-20s %-10s": name, soft limit, hard limit, unit.
func (l *Limits) parse(text []byte) error {
	const nameWidth = 25
	var seen [len(Limits{})]bool
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		if len(line) <= nameWidth {
			continue
		}
		name := string(trim(line[:nameWidth]))
		for i := range limitNames {
			if name != limitNames[i] {
				continue
			}
			soft, rest := cutField(line[nameWidth:])
			hard, _ := cutField(rest)
			var ok1, ok2 bool
			l[i].Cur, ok1 = parseLimit(soft)
			l[i].Max, ok2 = parseLimit(hard)
			if !ok1 || !ok2 {
				return bad("limits", line)
			}
			seen[i] = true
		}
	}
	for i, ok := range seen {
		if !ok {
			return bad("limits: no line", []byte(limitNames[i]))
		}
	}
	return nil
}

func parseLimit(b []byte) (uint64, bool) {
	if string(b) == "unlimited" {
		return unix.RLIM_INFINITY, true
	}
	return parseUint(b, 10)
}
