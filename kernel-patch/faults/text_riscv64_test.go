// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// A small kernel has no file that shows its text. A probe can: getpgid takes any number, and a probe on it fetches what is in the
// kernel's memory at that address.

const (
	readWords = 8             // of one hit
	readBytes = 8 * readWords // of one hit
	ringPages = 64
	// regsA0 is where the system call's first argument (orig_a0) lies in the registers that a call gets since Linux 6.6.
	regsA0 = 35 * 8
)

// textReader reads the kernel's memory.
type textReader struct {
	probe probe
	ring  []byte
	page  []byte
}

func newTextReader(k *kernelText) (*textReader, error) {
	var fetches []abi.Fetch
	name := "__riscv_sys_getpgid"
	byRegs := len(k.symbols.Lookup(name)) == 1
	if !byRegs {
		name = "__se_sys_getpgid"
		if len(k.symbols.Lookup(name)) != 1 {
			name = "sys_getpgid"
		}
	}
	for i := range int32(readWords) {
		f := abi.Fetch{Base: 0, Index: 10, Size: 8, Derefs: 1, Offset: [4]int32{8 * i}}
		if byRegs {
			f.Derefs, f.Offset = 2, [4]int32{regsA0, 8 * i}
		}
		fetches = append(fetches, f)
	}
	found := k.symbols.Lookup(name)
	if len(found) == 0 {
		return nil, fmt.Errorf("no function %s", name)
	}
	// By ebreak: a jump would show which slot is free.
	p, err := openProbe(abi.Attr{Kind: abi.KindEntry, Flags: abi.FlagEvents | abi.FlagNoJump, GroupFD: -1, Address: found[0].Address}, fetches)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", name, err)
	}
	r := &textReader{probe: p}
	size := unix.Getpagesize()
	if r.page, err = unix.Mmap(p.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		r.ring, err = unix.Mmap(p.fd, int64(size), (1+ringPages)*size, unix.PROT_READ, unix.MAP_SHARED)
	}
	if err == nil {
		err = p.enable()
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("read text: %w", err)
	}
	return r, nil
}

func (r *textReader) close() {
	for _, mapped := range [][]byte{r.ring, r.page} {
		if mapped != nil {
			unix.Munmap(mapped)
		}
	}
	r.probe.close()
}

// read fills a buffer, a multiple of readBytes, from an address on.
func (r *textReader) read(address uint64, to []byte) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid := uint32(unix.Getpid())
	const batch = 1024
	for len(to) > 0 {
		n := min(batch, len(to)/readBytes)
		tail := *r.word(r.page, 8)
		for i := range n {
			unix.RawSyscall(unix.SYS_GETPGID, uintptr(address)+uintptr(i*readBytes), 0, 0)
		}
		got, err := r.drain(tail, pid, to[:n*readBytes])
		if err != nil {
			return err
		}
		if got != n {
			return fmt.Errorf("read text at %#x: %d of %d hits came", address, got, n)
		}
		address += uint64(n * readBytes)
		to = to[n*readBytes:]
	}
	return nil
}

func (r *textReader) word(in []byte, at int) *uint64 { return (*uint64)(unsafe.Pointer(&in[at])) }

// drain takes the events and gives the room back.
func (r *textReader) drain(tail uint64, pid uint32, to []byte) (int, error) {
	area := r.ring[unix.Getpagesize():]
	head, size := *r.word(r.ring, 0), *r.word(r.ring, 8)
	if size != uint64(len(area)) || head < tail || head-tail > size {
		return 0, fmt.Errorf("ring: head %d, tail %d, size %d of %d bytes", head, tail, size, len(area))
	}
	got := 0
	for tail < head {
		at := tail % size
		var event abi.Event
		event.Size = binary.LittleEndian.Uint32(area[at:])
		if event.Size < 8 || event.Size%8 != 0 || uint64(event.Size) > size-at {
			return got, fmt.Errorf("ring: a record of %d bytes at %d of %d", event.Size, at, size)
		}
		tail += uint64(event.Size)
		record := area[at : at+uint64(event.Size)]
		if binary.LittleEndian.Uint16(record[4:]) == 0 {
			continue // padding
		}
		if _, err := binary.Decode(record, binary.LittleEndian, &event); err != nil {
			return got, fmt.Errorf("ring: %w", err)
		}
		if event.PID != pid {
			continue
		}
		if event.Failed != 0 || event.Values != readWords || got*readBytes >= len(to) {
			return got, fmt.Errorf("ring: event %+v", event)
		}
		copy(to[got*readBytes:], record[unsafe.Sizeof(event):][:readBytes])
		got++
	}
	*r.word(r.page, 8) = tail
	return got, nil
}

// textNow is the kernel's text, byte for byte.
func textNow(t *testing.T) []byte {
	t.Helper()
	k := text(t)
	r, err := newTextReader(k)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	now := make([]byte, (k.end-k.start)/readBytes*readBytes)
	if err := r.read(k.start, now); err != nil {
		t.Fatal(err)
	}
	return now
}

// mayChange are parts of the text that differ without harm: slots that nobody uses any more.
func mayChange(symbol string) bool { return strings.HasPrefix(symbol, "probe_pool_") }

// compareText reports where the text differs. Jump labels may: the kernel itself writes them.
func compareText(t *testing.T, before, after []byte) {
	t.Helper()
	k := text(t)
	told := 0
	for i := 0; i+4 <= len(before) && told < 20; i += 2 {
		if before[i] == after[i] && before[i+1] == after[i+1] {
			continue
		}
		address := k.start + uint64(i)
		if mayChange(k.at(address)) || jumpLabel(address) || jumpLabel(address-2) {
			continue
		}
		t.Errorf("text at %s was % x, is % x", k.at(address), before[i:i+4], after[i:i+4])
		told++
		i += 4
	}
}

// jumpLabel says whether an address is refused as that of a jump label.
func jumpLabel(address uint64) bool {
	p, err := openProbe(abi.Attr{Kind: abi.KindEntry, Address: address, GroupFD: -1}, nil)
	if err == nil {
		p.close()
		return false
	}
	why, ok := err.(*refusal)
	return ok && why.reason == abi.ReasonJumpLabel
}

// TestText reads the text twice: what is compared must be able to stay the same.
func TestText(t *testing.T) {
	watchKernel(t)
	before := textNow(t)
	p, err := openAt(text(t).only(t, "write_null").Address, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.enable(); err != nil {
		t.Fatal(err)
	}
	during := textNow(t)
	at := text(t).only(t, "write_null").Address - text(t).start
	if string(before[at:at+4]) == string(during[at:at+4]) {
		t.Error("the text of a probed function does not differ, so comparing it is worth nothing")
	}
}
