// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/seccomp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// seccompDump collects the filters of all threads. Filters form a tree by fork and clone: each has its older one.
type seccompDump struct {
	filters []*seccomp.SeccompFilter
	known   map[string]int // by the older filter, flags and code
}

// dumpFilters finds the thread's filters, the oldest first, among those known or adds them.
func (d *dumper) dumpFilters(t *target, th *targetThread) error {
	th.filter = -1
	const modeFilter = 2
	if th.status.Seccomp != modeFilter {
		return nil
	}
	f := &d.filters
	if f.known == nil {
		f.known = map[string]int{}
	}
	// The kernel counts filters from the oldest, 0.
	for i := 0; ; i++ {
		code, flags, err := th.tracee.SeccompFilter(i)
		if errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("thread %d: %w", th.tid, err)
		}
		key := strconv.Itoa(th.filter) + " " + strconv.FormatUint(flags, 10) + " " + string(code)
		at, ok := f.known[key]
		if !ok {
			at = len(f.filters)
			e := &seccomp.SeccompFilter{Filter: code}
			if th.filter >= 0 {
				e.Prev = proto.Uint32(uint32(th.filter))
			}
			if flags != 0 {
				e.Flags = proto.Uint32(uint32(flags))
			}
			f.filters = append(f.filters, e)
			f.known[key] = at
		}
		th.filter = at
	}
	if th.filter < 0 {
		return refuse("thread %d has seccomp filters that can't be read back (not classic BPF?); run the program without them", th.tid)
	}
	return nil
}
