// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// EntrySize is the size of one entry of a batch in bytes.
const EntrySize = 64

// ErrAreaFull says that a batch does not fit the scratch area.
var ErrAreaFull = errors.New("batch does not fit the scratch area")

// Addr is an address in the target.
type Addr = uint64

// Batch collects system calls for one process. Entries grow from the start of the scratch area, data from its end.
// A Batch is used once: build, Session.Run, read the results.
type Batch struct {
	s       *Session
	entries []byte
	data    []byte // laid out downwards: data[0] is at the address top-len(data)
	results []byte
}

// NewBatch starts an empty batch.
func (s *Session) NewBatch() *Batch {
	return &Batch{s: s}
}

// Len is the number of entries so far.
func (b *Batch) Len() int { return len(b.entries) / EntrySize }

// Data reserves len(p) bytes in the target, aligned to 16, that hold p when the batch starts, and returns their address.
func (b *Batch) Data(p []byte) Addr {
	n := (len(p) + 15) &^ 15
	d := make([]byte, n, n+len(b.data))
	copy(d, p)
	b.data = append(d, b.data...)
	return b.s.Area + b.s.AreaSize - uint64(len(b.data))
}

// Space reserves n zeroed bytes.
func (b *Batch) Space(n int) Addr { return b.Data(make([]byte, n)) }

// String reserves a NUL-terminated string.
func (b *Batch) String(v string) Addr { return b.Data(append([]byte(v), 0)) }

// Room is how many bytes are left for entries and data.
func (b *Batch) Room() int {
	return int(b.s.AreaSize) - len(b.entries) - len(b.data) - EntrySize*(reservedEntries+len(b.s.unwind))
}

// reservedEntries is what Run adds to a batch: the stop, the terminator.
const reservedEntries = 2

// Call appends a system call and returns its index. Its result goes to the entry's own nr field's place in the copy
// that Run reads back (Result).
func (b *Batch) Call(nr uintptr, args ...uint64) int {
	i := b.Len()
	var e [EntrySize]byte
	binary.LittleEndian.PutUint64(e[0:], uint64(nr))
	for k, a := range args {
		binary.LittleEndian.PutUint64(e[8+8*k:], a)
	}
	// the result replaces nr in the entry itself, which has been loaded by then
	binary.LittleEndian.PutUint64(e[56:], b.EntryAddr(i))
	b.entries = append(b.entries, e[:]...)
	return i
}

// EntryAddr is where entry i lies in the target.
func (b *Batch) EntryAddr(i int) Addr { return b.s.Area + uint64(i)*EntrySize }

// Into makes the result of entry i an argument (0 to 5) of the later entry j, which may not exist yet. Its own Result
// is then not available.
func (b *Batch) Into(i, j, arg int) {
	binary.LittleEndian.PutUint64(b.entries[i*EntrySize+56:], b.EntryAddr(j)+8+8*uint64(arg))
}

// Result is what entry i returned, after Run: a value, or a unix.Errno.
func (b *Batch) Result(i int) (uint64, error) {
	if (i+1)*EntrySize > len(b.results) {
		return 0, fmt.Errorf("entry %d has not run", i)
	}
	return errnoOf(binary.LittleEndian.Uint64(b.results[i*EntrySize:]))
}

// Arg returns argument k of entry i as it is after Run: where Into stored a result.
func (b *Batch) Arg(i, k int) uint64 {
	return binary.LittleEndian.Uint64(b.results[i*EntrySize+8+8*k:])
}

// Read copies n bytes of the batch's data at addr back from the target, after Run.
func (b *Batch) Read(addr Addr, p []byte) error {
	return b.s.ReadMem(addr, p)
}

func errnoOf(v uint64) (uint64, error) {
	if int64(v) < 0 && int64(v) >= -4095 {
		return 0, unix.Errno(-int64(v))
	}
	return v, nil
}

func putEntry(b []byte, nr uint64, dst Addr, args ...uint64) {
	binary.LittleEndian.PutUint64(b[0:], nr)
	for k := 0; k < 6; k++ {
		var a uint64
		if k < len(args) {
			a = args[k]
		}
		binary.LittleEndian.PutUint64(b[8+8*k:], a)
	}
	binary.LittleEndian.PutUint64(b[56:], dst)
}

// Run lets the process make all calls of the batch and parks it again.
func (s *Session) Run(b *Batch) error {
	if b.Room() < 0 {
		return fmt.Errorf("task %d: %d calls, %d bytes of data: %w", s.T.Tid, b.Len(), len(b.data), ErrAreaFull)
	}
	s.Calls += int64(b.Len())
	if s.stepOnly {
		return s.runStepped(b)
	}
	n := b.Len()
	if len(b.data) > 0 {
		if err := s.WriteMem(s.Area+s.AreaSize-uint64(len(b.data)), b.data); err != nil {
			return err
		}
	}
	all := b.entries
	var e [EntrySize]byte
	putEntry(e[:], unix.SYS_TGKILL, b.EntryAddr(n), uint64(s.pid), uint64(s.tid), uint64(s.sig))
	all = append(all, e[:]...)
	for i, u := range s.unwind {
		putEntry(e[:], uint64(u.nr), b.EntryAddr(n+1+i), u.args[:]...)
		all = append(all, e[:]...)
	}
	putEntry(e[:], ^uint64(0), 0)
	all = append(all, e[:]...)
	if err := s.WriteMem(s.Area, all); err != nil {
		return err
	}
	if err := s.start(s.T, &s.orig, s.Area); err != nil {
		return err
	}
	if err := s.untilStop(s.T, b.EntryAddr(n)); err != nil {
		return err
	}
	b.results = all[:n*EntrySize]
	return s.ReadMem(s.Area, b.results)
}

// start sends a parked thread into the batch at entries.
func (s *Session) start(t *Tracee, base *Regs, entries Addr) error {
	r := *base
	setBatch(&r, s.code+blobBatch, entries)
	if s.entry != 0 {
		setBatch(&r, s.entry, entries)
	}
	if err := t.SetRegs(&r); err != nil {
		return err
	}
	return t.Cont(0)
}

// untilStop waits for the signal that ends a batch, at the entry where it stands.
func (s *Session) untilStop(t *Tracee, entry Addr) error {
	for {
		st, err := t.Wait()
		if err != nil {
			return err
		}
		switch st.Kind {
		case StopExited:
			return fmt.Errorf("task %d: %w", t.Tid, ErrGone)
		case StopSignal:
			r, err := t.Regs()
			if err != nil {
				return err
			}
			if st.Signal == s.sig && pc(&r) == s.code+blobBatchRet && batchPosition(&r) == entry {
				return nil
			}
			switch st.Signal {
			case unix.SIGSTOP:
				s.StopPending = true
			case unix.SIGSEGV, unix.SIGILL, unix.SIGBUS, unix.SIGTRAP, unix.SIGSYS, unix.SIGFPE:
				return fmt.Errorf("task %d: %v at %#x in a batch, entry %d of the area",
					t.Tid, st.Signal, pc(&r), (batchPosition(&r)-s.Area)/EntrySize)
			}
		case StopEvent:
			if err := s.event(t, st); err != nil {
				return err
			}
		}
		if err := t.Cont(0); err != nil {
			return err
		}
	}
}

// runStepped makes the calls one by one from outside; for targets with a seccomp filter.
func (s *Session) runStepped(b *Batch) error {
	if len(b.data) > 0 {
		if err := s.WriteMem(s.Area+s.AreaSize-uint64(len(b.data)), b.data); err != nil {
			return err
		}
	}
	if len(b.entries) > 0 {
		if err := s.WriteMem(s.Area, b.entries); err != nil {
			return err
		}
	}
	var e [EntrySize]byte
	var w [8]byte
	for i := 0; i < b.Len(); i++ {
		if err := s.ReadMem(b.EntryAddr(i), e[:]); err != nil {
			return err
		}
		var a [6]uint64
		for k := range a {
			a[k] = binary.LittleEndian.Uint64(e[8+8*k:])
		}
		v, err := s.callRaw(binary.LittleEndian.Uint64(e[0:]), a)
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(w[:], v)
		if err := s.WriteMem(binary.LittleEndian.Uint64(e[56:]), w[:]); err != nil {
			return err
		}
	}
	b.results = make([]byte, len(b.entries))
	if len(b.results) == 0 {
		return nil
	}
	return s.ReadMem(s.Area, b.results)
}
