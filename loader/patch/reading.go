// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/probes"
)

// A Reading is what was measured of a probe in one context so far.
type Reading struct {
	Probe   *Probe
	Context uint32
	Stats   probes.Stats
	Losses  probes.Losses
}

const statsSize = int(unsafe.Sizeof(abi.Stats{}))

// Read appends the readings of all probes to dst, which may be nil, probe by probe. Contexts in which a probe has seen nothing
// are left out, but for the first.
func (s *Session) Read(dst []Reading) []Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return dst
	}
	for _, p := range s.all {
		if p.fd < 0 {
			continue
		}
		list, err := s.stats(p.fd)
		if err != nil {
			s.warnings = append(s.warnings, fmt.Errorf("probe %s: read what it measured: %w", p.Name, err))
		}
		if len(list) == 0 || list[0].Context != 0 {
			dst = append(dst, Reading{Probe: p})
		}
		for i := range list {
			st, l := measured(&list[i])
			if !p.HasLatency() {
				st.Hist[0] = st.Count // as other backends have it: nothing was timed
			}
			dst = append(dst, Reading{Probe: p, Context: list[i].Context, Stats: st, Losses: l})
		}
	}
	return dst
}

// stats reads the rows of a probe. They are valid until the next call. s.mu is held.
func (s *Session) stats(fd int) ([]abi.Stats, error) {
	if want := int(s.opts.Contexts) * statsSize; len(s.buffer) < want {
		words := make([]uint64, want/8) // aligned
		s.buffer = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), want)
	}
	for {
		n, err := unix.Read(fd, s.buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		case n%statsSize != 0:
			return nil, fmt.Errorf("%d bytes, which is no multiple of %d", n, statsSize)
		}
		return unsafe.Slice((*abi.Stats)(unsafe.Pointer(&s.buffer[0])), n/statsSize), nil
	}
}

// measured gives a row as tables have it.
func measured(w *abi.Stats) (probes.Stats, probes.Losses) {
	st := probes.Stats{
		Count: w.Count, Total: w.Total, Min: w.Min, Max: w.Max, CPU: w.CPU, Errors: w.Errors, Nested: w.Nested, Hist: w.Hist,
	}
	l := probes.Losses{Missed: w.Missed, Dropped: w.Dropped, Ended: w.Ended, Unread: w.Unread}
	if over := w.Count + w.Ended; w.Started > over {
		l.Active = w.Started - over
	}
	return st, l
}
