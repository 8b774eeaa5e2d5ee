// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/bpf"
	"github.com/trapline/trapline/probes"
)

// mapMemory maps an eBPF array that was made with BPF_F_MMAPABLE (Linux 5.5).
func mapMemory(m *ebpf.Map, bytes, prot int) ([]byte, error) {
	page := unix.Getpagesize()
	b, err := unix.Mmap(m.FD(), 0, (bytes+page-1)/page*page, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the memory of an eBPF array: %w", err)
	}
	return b, nil
}

// control is the page that the programs look at.
type control struct {
	memory []byte
	page   *bpf.TraceControlPage
}

func mapControlPage(m *ebpf.Map) (*control, error) {
	b, err := mapMemory(m, int(unsafe.Sizeof(bpf.TraceControlPage{})), unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	return &control{memory: b, page: (*bpf.TraceControlPage)(unsafe.Pointer(&b[0]))}, nil
}

// set stores a field so that the programs see it whole.
func (c *control) set(field *uint32, v uint32) { atomic.StoreUint32(field, v) }

// Close unmaps the page.
func (c *control) Close() error { return unix.Munmap(c.memory) }

// rows is what the programs measured, as they write it: a row for each CPU, probe and context.
type rows struct {
	memory                 []byte
	all                    []bpf.TraceRow
	cpus, probes, contexts int
}

func mapRowsOf(m *ebpf.Map, cpus, probes, contexts int) (*rows, error) {
	n := cpus * probes * contexts
	b, err := mapMemory(m, n*int(unsafe.Sizeof(bpf.TraceRow{})), unix.PROT_READ)
	if err != nil {
		return nil, err
	}
	return &rows{memory: b, all: unsafe.Slice((*bpf.TraceRow)(unsafe.Pointer(&b[0])), n), cpus: cpus, probes: probes, contexts: contexts}, nil
}

// Close unmaps the rows.
func (r *rows) Close() error { return unix.Munmap(r.memory) }

// read adds up what all CPUs measured of a probe in a context. The programs go on meanwhile: the fields of one row are
// those of slightly different moments.
func (r *rows) read(probe, context int) (st probes.Stats, l probes.Losses) {
	var started, lost uint64
	st.Min = ^uint64(0)
	for cpu := range r.cpus {
		row := &r.all[(cpu*r.probes+probe)*r.contexts+context]
		for i := range row.Hist {
			n := atomic.LoadUint64(&row.Hist[i])
			st.Hist[i] += n
			st.Count += n
		}
		started += atomic.LoadUint64(&row.Started)
		st.Total += atomic.LoadUint64(&row.Total)
		st.CPU += atomic.LoadUint64(&row.Cpu)
		st.Errors += atomic.LoadUint64(&row.Errors)
		st.Nested += atomic.LoadUint64(&row.Nested)
		st.Max = max(st.Max, atomic.LoadUint64(&row.Max))
		st.Min = min(st.Min, ^atomic.LoadUint64(&row.InverseMin))
		l.Missed += atomic.LoadUint64(&row.Missed)
		l.Dropped += atomic.LoadUint64(&row.Dropped)
		l.Unpaired += atomic.LoadUint64(&row.Unpaired)
		l.Ended += atomic.LoadUint64(&row.Ended)
		l.Unread += atomic.LoadUint64(&row.Unread)
		lost += atomic.LoadUint64(&row.Lost)
	}
	if st.Min > st.Max {
		st.Min = 0 // none yet
	}
	l.Missed += lost
	if over := st.Count + lost + l.Ended; started > over {
		l.Active = started - over
	}
	return st, l
}

// lost is how many calls of a probe began of whose returns the programs know that they will not come.
func (r *rows) lost(probe int) (n uint64) {
	for cpu := range r.cpus {
		for context := range r.contexts {
			n += atomic.LoadUint64(&r.all[(cpu*r.probes+probe)*r.contexts+context].Lost)
		}
	}
	return n
}

// log2Size rounds up to a power of two.
func log2Size(n uint32) uint32 { return 1 << bits.Len32(n-1) }

// ringBytes is the size of a ring: a power of two, and whole pages.
func ringBytes(want int) uint32 {
	if want <= 0 {
		want = defaultRing
	}
	return log2Size(uint32(min(max(want, unix.Getpagesize()), 1<<30)))
}
