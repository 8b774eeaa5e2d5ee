// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"os"

	"github.com/trapline/trapline/checkpoint/procfs"
)

// PageSize of the target, in bytes.
var PageSize = uint64(os.Getpagesize())

// Run is a range of pages of one class to be saved.
type Run struct {
	Start, End uint64 // addresses, End exclusive
	// Lazy: of private anonymous memory, which a lazy restore may leave out at first (CRIU's PE_LAZY).
	Lazy bool
	// Direct: the process itself can read it.
	Direct bool
	// Forkable: private memory that fork copies, so that a child may share the pages.
	Forkable bool
}

// Pages is the length of the run in pages.
func (r Run) Pages() uint64 { return (r.End - r.Start) / PageSize }

// Saved tells whether pages of a mapping can belong to the process itself, so that a dump looks at them.
func Saved(v *procfs.VMA) bool {
	switch v.Kind {
	case procfs.KindAnon, procfs.KindHeap, procfs.KindStack, procfs.KindAnonNamed:
		// A droppable page may vanish at any moment: its contents are no state.
		return v.Flags&procfs.VMDroppable == 0
	case procfs.KindFile, procfs.KindMemfd, procfs.KindAnonHuge, procfs.KindSysV, procfs.KindAnonShmem, procfs.KindAnonShmemNamed:
		return !v.Shared && v.Flags&(procfs.VMIO|procfs.VMPFNMap) == 0
	}
	return false
}

// class of the pages of a mapping.
func class(v *procfs.VMA) Run {
	var r Run
	switch v.Kind {
	case procfs.KindAnon, procfs.KindHeap, procfs.KindStack, procfs.KindAnonNamed:
		r.Lazy = v.Flags&procfs.VMLocked == 0
	}
	r.Direct = v.Prot&(protRead|protWrite) != 0 && v.ProtectionKey == 0
	r.Forkable = v.Flags&(procfs.VMDontCopy|procfs.VMWipeOnFork) == 0
	return r
}

const (
	protRead  = 1
	protWrite = 2
)

// Walk calls fn with each run of pages to be saved, in ascending order, and guard with each range of guard pages. vmas
// must be in ascending order. Neighbouring pages of one class may come in several runs. An error of fn or guard ends
// the walk and is returned as it is.
func Walk(pm *procfs.Pagemap, vmas []procfs.VMA, fn func(Run) error, guard func(start, end uint64) error) error {
	const own = procfs.PageFile | procfs.PageZero
	q := procfs.PageQuery{
		Inverted: own,
		All:      own,
		Any:      procfs.PagePresent | procfs.PageSwapped,
		Return:   procfs.PageGuard,
	}
	for i := 0; i < len(vmas); {
		if !Saved(&vmas[i]) {
			i++
			continue
		}
		// One scan for as many mappings as possible: the gaps between them cost nothing.
		k := i + 1
		for k < len(vmas) && Saved(&vmas[k]) {
			k++
		}
		span := vmas[i:k]
		err := pm.Scan(span[0].Start, span[len(span)-1].End, q, func(regions []procfs.PageRegion) error {
			for _, r := range regions {
				if r.Categories&procfs.PageGuard != 0 {
					if err := guard(r.Start, r.End); err != nil {
						return err
					}
					continue
				}
				for at := r.Start; at < r.End; {
					for len(span) > 1 && span[0].End <= at {
						span = span[1:]
					}
					// The scratch area of the remote calls lies in a gap.
					if at = max(at, span[0].Start); at >= r.End {
						break
					}
					run := class(&span[0])
					run.Start, run.End = at, min(r.End, span[0].End)
					if run.End <= at { // a page outside of all mappings: they changed under our hands
						return errMoved
					}
					at = run.End
					if err := fn(run); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		i = k
	}
	return nil
}

// Estimate is how many bytes Walk will find at most, from the sizes in smaps.
func Estimate(vmas []procfs.VMA) (bytes uint64) {
	for i := range vmas {
		if v := &vmas[i]; Saved(v) {
			bytes += v.Anonymous + v.Swap + v.Hugetlb
		}
	}
	return bytes
}
