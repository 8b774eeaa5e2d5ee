// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

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
	// data grows downwards, as in the target: what is in use is the end of the buffer.
	buf     []byte
	used    int
	results []byte
	calls   int // how many entries are the caller's, once it has begun
}

// NewBatch starts an empty batch.
func (s *Session) NewBatch() *Batch {
	return &Batch{s: s}
}

// Len is the number of entries so far.
func (b *Batch) Len() int { return len(b.entries) / EntrySize }

// data is what has been reserved so far; it goes to the end of the scratch area.
func (b *Batch) data() []byte { return b.buf[len(b.buf)-b.used:] }

// Data reserves len(p) bytes in the target, aligned to 16, that hold p when the batch starts, and returns their address.
func (b *Batch) Data(p []byte) Addr {
	copy(b.reserve(len(p)), p)
	return b.s.Area + b.s.AreaSize - uint64(b.used)
}

// reserve makes n more bytes, zeros, at the front of the data.
func (b *Batch) reserve(n int) []byte {
	n = (n + 15) &^ 15
	if b.used+n > len(b.buf) {
		grown := make([]byte, max(2*len(b.buf), b.used+n, 512))
		copy(grown[len(grown)-b.used:], b.data())
		b.buf = grown
	}
	b.used += n
	return b.data()[:n]
}

// Space reserves n zeroed bytes.
func (b *Batch) Space(n int) Addr {
	b.reserve(n)
	return b.s.Area + b.s.AreaSize - uint64(b.used)
}

// String reserves a NUL-terminated string.
func (b *Batch) String(v string) Addr { return b.Data(append([]byte(v), 0)) }

// Room is how many bytes are left for entries and data.
func (b *Batch) Room() int {
	return int(b.s.AreaSize) - len(b.entries) - b.used - EntrySize*(reservedEntries+len(b.s.unwind))
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
	if err := s.Begin(b); err != nil {
		return err
	}
	return s.End(b)
}

// Begin sends the process into the batch; End must follow. Batches of different processes may run at the same time.
func (s *Session) Begin(b *Batch) error {
	if b.Room() < 0 {
		return fmt.Errorf("task %d: %d calls, %d bytes of data: %w", s.T.Tid, b.Len(), b.used, ErrAreaFull)
	}
	s.Calls += int64(b.Len())
	if s.stepOnly {
		return nil
	}
	if b.used > 0 {
		if err := s.WriteMem(s.Area+s.AreaSize-uint64(b.used), b.data()); err != nil {
			return err
		}
	}
	b.close()
	if err := s.WriteMem(s.Area, b.entries); err != nil {
		return err
	}
	return s.start(s.T, &s.orig, s.Area)
}

// close adds the stop, what the way back needs, and the terminator.
func (b *Batch) close() {
	s, n := b.s, b.Len()
	b.entries = slices.Grow(b.entries, EntrySize*(reservedEntries+len(s.unwind)))
	b.calls = n
	var e [EntrySize]byte
	add := func(nr uint64, dst Addr, args ...uint64) {
		putEntry(e[:], nr, dst, args...)
		b.entries = append(b.entries, e[:]...)
	}
	add(unix.SYS_TGKILL, b.EntryAddr(n), uint64(s.pid), uint64(s.tid), uint64(s.sig))
	for i, u := range s.unwind {
		add(uint64(u.nr), b.EntryAddr(n+1+i), u.args[:]...)
	}
	add(^uint64(0), 0)
}

// End waits until the process has made the calls of the batch.
func (s *Session) End(b *Batch) error {
	if s.stepOnly {
		return s.runStepped(b)
	}
	if err := s.untilStop(s.T, b.EntryAddr(b.calls)); err != nil {
		return err
	}
	b.entries = b.entries[:b.calls*EntrySize]
	b.results = b.entries
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
		}
		if err := t.Cont(0); err != nil {
			return err
		}
	}
}

// runStepped makes the calls one by one from outside; for targets with a seccomp filter.
func (s *Session) runStepped(b *Batch) error {
	if b.used > 0 {
		if err := s.WriteMem(s.Area+s.AreaSize-uint64(b.used), b.data()); err != nil {
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
