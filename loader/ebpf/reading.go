// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"github.com/trapline/trapline/probes"
)

// A Reading is what was measured of a probe in one context so far.
type Reading struct {
	Probe   *Probe
	Context uint32
	Stats   probes.Stats
	Losses  probes.Losses
}

// Read appends the readings of all probes to dst, which may be nil, probe by probe. Contexts in which a probe has seen
// nothing are left out, but for the first. What the kernel itself has lost is known only for a probe as a whole, and
// stands with its first reading.
func (s *Session) Read(dst []Reading) []Reading {
	s.readMisses()
	for _, p := range s.all {
		if p.dropped {
			continue
		}
		// The programs notice a lost return only when the same task calls again; if it ends instead, they can't tell that from a
		// call that it ended in. The kernel counts lost returns (Linux 6.7).
		unnoticed := p.kernelLost - min(p.kernelLost, s.rows.lost(int(p.index)))
		first := len(dst)
		for c := range int(s.opts.Contexts) {
			st, l := s.rows.read(int(p.index), c)
			if c == 0 {
				l.Missed += p.kernelMissed
			}
			for _, from := range []*uint64{&l.Ended, &l.Active} {
				gone := min(unnoticed, *from)
				*from -= gone
				l.Missed += gone
				unnoticed -= gone
			}
			if c > 0 && st.Count == 0 && l == (probes.Losses{}) {
				continue
			}
			dst = append(dst, Reading{Probe: p, Context: uint32(c), Stats: st, Losses: l})
		}
		if p.Mechanism == MechanismKprobeSession {
			dst[first].Losses.Missed += unnoticed // what are no returns are entries: see multi.link
		}
	}
	return dst
}

// SharedMissed is what links that serve many probes have lost in the kernel's own count: which of them lost it is not known.
// It comes with how many probes these are.
func (s *Session) SharedMissed() (missed uint64, among int) {
	s.readMisses()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sharedMissed, s.sharedAmong
}

// readMisses asks the kernel what it could not deliver. After Detach the last answer stands.
func (s *Session) readMisses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.detached || s.closed {
		return
	}
	for _, p := range s.all {
		p.kernelMissed, p.kernelLost = 0, 0
		for _, f := range p.missed {
			p.kernelMissed += f()
		}
		for _, f := range p.lost {
			p.kernelLost += f()
		}
	}
	s.sharedMissed = 0
	among := map[*Probe]bool{}
	for _, m := range s.multis {
		n := m.missed()
		switch {
		case len(m.group) == 1 && m.returns:
			m.group[0].kernelLost += n
			continue
		case len(m.group) == 1:
			m.group[0].kernelMissed += n
			continue
		case m.returns:
			// What the programs have noticed stands in the rows.
			for _, p := range m.group {
				n -= min(n, s.rows.lost(int(p.index)))
			}
		}
		s.sharedMissed += n
		for _, p := range m.group {
			among[p] = true
		}
	}
	s.sharedAmong = len(among)
}
