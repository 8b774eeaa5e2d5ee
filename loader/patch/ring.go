// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// ring is the memory that the kernel writes events to.
//
//	page 0     struct probe_ring: how much was written
//	page 1 …   records, a power of two of bytes: around and around
type ring struct {
	memory []byte
	head   *uint64
	area   []byte
}

// openRing makes and maps the ring of a group. It lies one page behind the page of the context.
func openRing(fd, bytes int) (*ring, error) {
	memory, err := unix.Mmap(fd, int64(pageSize), pageSize+bytes, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("patch: map a ring of %d bytes for events: %w", bytes, err)
	}
	header := (*abi.Ring)(unsafe.Pointer(&memory[0]))
	r := &ring{memory: memory, head: &header.Head, area: memory[pageSize:]}
	if header.Size != uint64(len(r.area)) {
		return nil, fmt.Errorf("patch: the ring of events has %d bytes, not %d (and %w)", header.Size, len(r.area), r.close())
	}
	return r, nil
}

// record gives the record at a position, and behind it the next position. The record is nil if nothing is to be read there yet, or if
// it is only filling. Its memory is the kernel's again as soon as the tail is moved.
func (r *ring) record(tail uint64) (record []byte, next uint64, err error) {
	written := atomic.LoadUint64(r.head) - tail
	if written == 0 {
		return nil, tail, nil
	}
	at := tail & uint64(len(r.area)-1)
	if tail%8 != 0 || written > uint64(len(r.area)) {
		return nil, tail, fmt.Errorf("patch: the ring of events can't be read: %d bytes wait at %d", written, tail)
	}
	size := uint64(atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.area[at]))))
	if size == 0 {
		return nil, tail, nil // it is being written
	}
	if size%8 != 0 || size > written || size > uint64(len(r.area))-at {
		return nil, tail, fmt.Errorf("patch: the ring of events can't be read: a record of %d bytes at %d, where %d wait", size, tail, written)
	}
	record = r.area[at : at+size]
	if kindOf(record) == abi.EventPad {
		return nil, tail + size, nil
	}
	if size < uint64(headerSize) {
		return nil, tail, fmt.Errorf("patch: the ring of events can't be read: a record of %d bytes", size)
	}
	return record, tail + size, nil
}

// kindOf gives the kind of a record, which also one of 8 bytes has.
func kindOf(record []byte) uint16 { return *(*uint16)(unsafe.Pointer(&record[4])) }

// close unmaps the ring.
func (r *ring) close() error {
	if r == nil || r.memory == nil {
		return nil
	}
	err := unix.Munmap(r.memory)
	r.memory, r.area, r.head = nil, nil, nil
	return err
}
