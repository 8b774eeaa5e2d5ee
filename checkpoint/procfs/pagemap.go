// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PageCategory says what is known of a page: PAGE_IS_* of the kernel's linux/fs.h.
type PageCategory uint64

// Categories. A page can be in several; one in none has never been touched.
const (
	PageWPAllowed PageCategory = 1 << iota // in a mapping whose userfaultfd write protection is asynchronous
	PageWritten                            // written since it was write-protected
	PageFile                               // of a file or shared memory: not a private copy
	PagePresent
	PageSwapped
	PageZero      // the shared page of zeros, so it need not be saved; small ones only before Linux 6.7
	PageHuge      // part of a huge page that is mapped as a whole
	PageSoftDirty // see clear_refs; on a kernel without soft-dirty never set
	// PageGuard is a guard page (MADV_GUARD_INSTALL), reported since Linux 6.15. It comes together with PageSwapped; Linux
	// 6.13 and 6.14 have such pages and say PageSwapped only, and reading one fails with EFAULT or EIO.
	PageGuard
)

// categories6_7 are those that the first kernel with PAGEMAP_SCAN knows.
const categories6_7 = PageGuard - 1

// PageRegion is a range of pages in the same categories; struct page_region of the kernel:
//
//	u64 start | u64 end | u64 categories
type PageRegion struct {
	Start, End uint64 // addresses, End exclusive
	Categories PageCategory
}

// PageQuery says which pages are wanted: with the categories in Inverted flipped, those that are in all of All and, unless it is
// empty, in at least one of Any. Regions are told apart by the categories in Return, as they are and not
// flipped.
type PageQuery struct {
	Inverted, All, Any, Return PageCategory
}

// Match says whether a page in categories c is wanted.
func (q *PageQuery) Match(c PageCategory) bool {
	c ^= q.Inverted
	return c&q.All == q.All && (q.Any == 0 || c&q.Any != 0)
}

// Pagemap is an open /proc/PID/pagemap. It is for one goroutine at a time.
type Pagemap struct {
	fd      int
	pid     int
	entries bool // read the file, do not ask PAGEMAP_SCAN
	regions []PageRegion
	words   []PageEntry
}

// Pagemap opens /proc/PID/pagemap. Needs the right to ptrace the process, and CAP_SYS_ADMIN for page frame numbers.
func (p *Proc) Pagemap() (*Pagemap, error) {
	fd, err := p.OpenFile("pagemap", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &Pagemap{fd: fd, pid: p.pid, entries: scanState.Load() == scanMissing}, nil
}

// Close closes the file.
func (pm *Pagemap) Close() error {
	fd := pm.fd
	pm.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close /proc/%d/pagemap: %w", pm.pid, err)
	}
	return nil
}

// Fd is the descriptor, which stays the Pagemap's.
func (pm *Pagemap) Fd() int { return pm.fd }

// What this kernel can do, found out by the first scan.
const (
	scanUnknown int32 = iota
	scanFull          // PAGEMAP_SCAN, every category here
	scanNoGuard       // PAGEMAP_SCAN of Linux 6.7 to 6.14, without PageGuard
	scanMissing       // before Linux 6.7
)

var scanState atomic.Int32

// pageRegions is how many regions one call fills at most: 48 KiB.
const pageRegions = 2048

// Scan calls fn with the regions between start and end (page-aligned) that q wants, in ascending order. The slice is valid
// during the call only. Neighbours of the same categories are one region, but for those at the end of
// one call and the beginning of the next. An error of fn ends the scan and is returned as it is.
//
// It asks the ioctl PAGEMAP_SCAN of Linux 6.7, which needs no time for what is not mapped; on older kernels it reads
// the entries of pagemap, 8 bytes a page. There PageWritten, PageWPAllowed and PageHuge are never seen and PageZero only
// with CAP_SYS_ADMIN.
func (pm *Pagemap) Scan(start, end uint64, q PageQuery, fn func([]PageRegion) error) error {
	if start%pageSize != 0 || end%pageSize != 0 || end < start {
		return fmt.Errorf("scan pages %#x-%#x of pid %d: %w", start, end, pm.pid, unix.EINVAL)
	}
	if pm.regions == nil {
		pm.regions = make([]PageRegion, pageRegions)
	}
	for start < end && !pm.entries {
		n, next, err := pm.scan(start, end, &q)
		if errors.Is(err, ErrNotSupported) {
			pm.entries = true
			break
		}
		if err != nil {
			return fmt.Errorf("scan pages %#x-%#x of pid %d: %w", start, end, pm.pid, err)
		}
		if n > 0 {
			if err := fn(pm.regions[:n]); err != nil {
				return err
			}
		}
		if next <= start {
			return fmt.Errorf("scan pages %#x-%#x of pid %d: %w", start, end, pm.pid, errors.New("no progress"))
		}
		start = next
	}
	if start < end {
		return pm.scanEntries(start, end, &q, fn)
	}
	return nil
}

// Regions appends to list what [Pagemap.Scan] finds. For callers that know the result to be small: a list needs 24 bytes
// a region, and a process can have as many regions as pages.
func (pm *Pagemap) Regions(list []PageRegion, start, end uint64, q PageQuery) ([]PageRegion, error) {
	err := pm.Scan(start, end, q, func(regions []PageRegion) error {
		for _, r := range regions {
			if n := len(list); n > 0 && list[n-1].End == r.Start && list[n-1].Categories == r.Categories {
				list[n-1].End = r.End
				continue
			}
			list = append(list, r)
		}
		return nil
	})
	return list, err
}

// pmScanArg is struct pm_scan_arg of linux/fs.h, twelve words.
type pmScanArg struct {
	size, flags         uint64
	start, end, walkEnd uint64
	vec                 uint64
	vecLen, maxPages    uint64
	inverted, all, any  PageCategory
	returned            PageCategory
}

// pagemapScan is _IOWR('f', 16, struct pm_scan_arg).
const pagemapScan = 0xc0606610

// scan is one PAGEMAP_SCAN into pm.regions. It returns the number of regions and where to go on.
func (pm *Pagemap) scan(start, end uint64, q *PageQuery) (n int, next uint64, err error) {
	for {
		state := scanState.Load()
		if state == scanMissing {
			return 0, 0, ErrNotSupported
		}
		mask := PageGuard<<1 - 1
		if state == scanNoGuard {
			// Older kernels refuse what they do not know. A page that would have to be a guard page is not found.
			mask = categories6_7
			flipped := q.Inverted&PageGuard != 0
			if !flipped && (q.All&PageGuard != 0 || q.Any == PageGuard) {
				return 0, end, nil
			}
		}
		arg := pmScanArg{
			size:  uint64(unsafe.Sizeof(pmScanArg{})),
			start: start, end: end,
			vec: uint64(uintptr(unsafe.Pointer(&pm.regions[0]))), vecLen: uint64(len(pm.regions)),
			inverted: q.Inverted & mask, all: q.All & mask, any: q.Any & mask, returned: q.Return & mask,
		}
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pm.fd), pagemapScan, uintptr(unsafe.Pointer(&arg)))
		switch {
		case errno == 0:
			if state == scanUnknown && (q.Inverted|q.All|q.Any|q.Return)&PageGuard != 0 {
				scanState.Store(scanFull)
			}
			if int(r) > len(pm.regions) {
				return 0, 0, errors.New("more regions than asked for")
			}
			if int(r) < len(pm.regions) {
				// All of the range was walked. The kernel (seen in 6.18) then leaves walk_end where its own buffer of
				// 512 regions was last full, in the middle of what it has reported.
				return int(r), end, nil
			}
			return int(r), max(arg.walkEnd, pm.regions[r-1].End), nil
		case errno == unix.EINTR:
		case errno == unix.ENOTTY:
			scanState.Store(scanMissing)
		case errno == unix.EINVAL && state == scanUnknown && (q.Inverted|q.All|q.Any|q.Return)&PageGuard != 0:
			scanState.Store(scanNoGuard)
		case errno == unix.ESRCH:
			return 0, 0, fmt.Errorf("%w: %w", ErrNoMM, errno)
		default:
			return 0, 0, errno
		}
	}
}

// PageEntry is an 8-byte entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
type PageEntry uint64

// Present says that the page is in memory.
func (e PageEntry) Present() bool { return e>>63 != 0 }

// Swapped says that the page is on swap, being migrated, or a marker such as a guard page.
func (e PageEntry) Swapped() bool { return e>>62&1 != 0 }

// File says that the page belongs to a file or shared memory.
func (e PageEntry) File() bool { return e>>61&1 != 0 }

// Guard says that it is a guard page; known since Linux 6.15.
func (e PageEntry) Guard() bool { return e>>58&1 != 0 }

// Exclusive says that no other mapping has the page.
func (e PageEntry) Exclusive() bool { return e>>56&1 != 0 }

// SoftDirty says that the page was written since clear_refs; also true of a page that never was mapped before.
func (e PageEntry) SoftDirty() bool { return e>>55&1 != 0 }

// PFN is the page frame number of a page that is present; 0 without CAP_SYS_ADMIN, and for one that is not.
func (e PageEntry) PFN() uint64 {
	if !e.Present() {
		return 0
	}
	return uint64(e) & (1<<55 - 1)
}

// categories translates the entry.
func (e PageEntry) categories(zero uint64) (c PageCategory) {
	if e.Present() {
		c |= PagePresent
		if pfn := e.PFN(); pfn != 0 && pfn == zero {
			c |= PageZero
		}
	}
	if e.Swapped() {
		c |= PageSwapped
	}
	if e.File() {
		c |= PageFile
	}
	if e.SoftDirty() {
		c |= PageSoftDirty
	}
	if e.Guard() {
		c |= PageGuard
	}
	return c
}

// Entries reads the entries of the pages from start (page-aligned) on into dst and returns how many there were: fewer than
// len(dst) only at the end of the address space.
func (pm *Pagemap) Entries(dst []PageEntry, start uint64) (int, error) {
	done := 0
	for done < len(dst) {
		b := unsafe.Slice((*byte)(unsafe.Pointer(&dst[done])), 8*(len(dst)-done))
		n, err := unix.Pread(pm.fd, b, int64(start/pageSize*8)+int64(done)*8)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("read /proc/%d/pagemap at %#x: %w", pm.pid, start, err)
		}
		if n < 8 {
			break
		}
		done += n / 8
	}
	return done, nil
}

// pageWords is how many entries the fallback reads at a time: 64 KiB, for 32 MiB of memory.
const pageWords = 8192

// scanEntries is Scan for kernels without PAGEMAP_SCAN.
func (pm *Pagemap) scanEntries(start, end uint64, q *PageQuery, fn func([]PageRegion) error) error {
	if pm.words == nil {
		pm.words = make([]PageEntry, pageWords)
	}
	zero, _ := zeroPFN() // 0 when it can't be known: then zero pages are saved like others
	found := 0
	for start < end {
		n, err := pm.Entries(pm.words[:min(pageWords, (end-start)/pageSize)], start)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		for i, e := range pm.words[:n] {
			c := e.categories(zero)
			if !q.Match(c) {
				continue
			}
			c &= q.Return
			at := start + uint64(i)*pageSize
			if found > 0 && pm.regions[found-1].End == at && pm.regions[found-1].Categories == c {
				pm.regions[found-1].End = at + pageSize
				continue
			}
			if found == len(pm.regions) {
				if err := fn(pm.regions); err != nil {
					return err
				}
				found = 0
			}
			pm.regions[found] = PageRegion{at, at + pageSize, c}
			found++
		}
		start += uint64(n) * pageSize
	}
	if found > 0 {
		return fn(pm.regions[:found])
	}
	return nil
}

// zeroPFN is the frame of the shared page of zeros, found by reading a fresh page of our own. 0 without
// CAP_SYS_ADMIN.
var zeroPFN = sync.OnceValues(func() (uint64, error) {
	mem, err := unix.Mmap(-1, 0, int(pageSize), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, fmt.Errorf("mmap: %w", err)
	}
	defer unix.Munmap(mem)
	if mem[0] != 0 { // a read maps the page of zeros
		return 0, errors.New("fresh memory is not zero")
	}
	p, err := Open(unix.Getpid())
	if err != nil {
		return 0, err
	}
	defer p.Close()
	pm, err := p.Pagemap()
	if err != nil {
		return 0, err
	}
	defer pm.Close()
	var entry [1]PageEntry
	if _, err := pm.Entries(entry[:], uint64(uintptr(unsafe.Pointer(&mem[0])))); err != nil {
		return 0, err
	}
	return entry[0].PFN(), nil
})
