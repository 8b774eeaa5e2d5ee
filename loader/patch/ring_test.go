// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// fakeRing is a ring that the test writes as the kernel does.
type fakeRing struct {
	ring
	head uint64
}

func newFakeRing(bytes int) *fakeRing {
	words := make([]uint64, bytes/8)
	r := &fakeRing{}
	r.ring.area = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), bytes)
	r.ring.head = &r.head
	return r
}

// put writes a record, behind one that fills the area's end if there is no room.
func (r *fakeRing) put(event abi.Event, rest []byte) {
	size := uint64(headerSize+len(rest)+31) &^ 31
	at := r.head & uint64(len(r.area)-1)
	if left := uint64(len(r.area)) - at; left < size {
		binary.NativeEndian.PutUint32(r.area[at:], uint32(left))
		binary.NativeEndian.PutUint16(r.area[at+4:], abi.EventPad)
		r.head += left
		at = 0
	}
	event.Size = uint32(size)
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, event); err != nil {
		panic(err)
	}
	copy(r.area[at:], append(b.Bytes(), rest...))
	r.head += size
}

// sessionOf is a session whose kernel is the test.
func sessionOf(t *testing.T, r *fakeRing, text string, events EventOptions) *Session {
	t.Helper()
	spec, err := probes.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	p := &Probe{Place: place.Place{Name: "vfs_write", Spec: spec}, Kind: probes.KindEntry}
	p.shown = spec.Args
	s := &Session{opts: Options{Events: &events}, all: []*Probe{p}, ring: &r.ring}
	s.page.Store(&abi.Page{})
	return s
}

// Records are read around the end of the ring, each once and whole; what is being written is left.
func TestRing(t *testing.T) {
	r := newFakeRing(4096)
	s := sessionOf(t, r, "vfs_write len=%a2:u64 who=$comm", EventOptions{Registers: true, Stack: true})
	d := &decoder{s: s}
	var next uint64
	check := func(e *probes.Event) {
		if e.Time != next || len(e.Args) != 2 || e.Args[0].Num != next || e.Args[1].Str != "dd" || e.Comm != "sh" || e.Context != 3 {
			t.Errorf("event %d: %+v", next, e)
		}
		if e.Trapframe == nil || e.Trapframe.PC() != 100 || e.Trapframe.Reg(31) != 131 || len(e.Stack) != 2 || e.Stack[1] != 0x201 {
			t.Errorf("event %d: registers %+v, stack %#x", next, e.Trapframe, e.Stack)
		}
		next++
	}
	rest := func(i uint64) []byte {
		b := binary.NativeEndian.AppendUint64(nil, i)
		b = binary.NativeEndian.AppendUint64(b, 0)
		b = append(b, make([]byte, abi.StringSize)...)
		copy(b[16:], "dd")
		for n := range uint64(abi.RegsMax) {
			b = binary.NativeEndian.AppendUint64(b, 100+n)
		}
		for _, word := range []uint64{7, 0x200, 0x201} { // a word of the stack, two frames
			b = binary.NativeEndian.AppendUint64(b, word)
		}
		return b
	}
	for i := range uint64(100) {
		e := abi.Event{Kind: abi.EventEntry, Time: i, Context: 3, Values: 2, Strings: 1, Regs: abi.RegsMax, StackWords: 1, Frames: 2}
		copy(e.Comm[:], "sh")
		r.put(e, rest(i))
		if i%5 != 4 {
			continue
		}
		if pending, err := s.drain(d, check); err != nil || pending || next != i+1 {
			t.Fatalf("%d of %d events read, pending %v, %v", next, i+1, pending, err)
		}
	}
	r.area[r.head&4095] = 0
	binary.NativeEndian.PutUint32(r.area[r.head&4095:], 0)
	r.head += 64
	if pending, err := s.drain(d, check); err != nil || !pending {
		t.Errorf("a record that is being written: pending %v, %v", pending, err)
	}
}

// A ring that makes no sense is an error, not a crash.
func TestBadRing(t *testing.T) {
	for name, spoil := range map[string]func(r *fakeRing, s *Session){
		"more than there is":     func(r *fakeRing, _ *Session) { r.head += 8192 },
		"backwards":              func(_ *fakeRing, s *Session) { s.page.Load().Tail = 1 << 40 },
		"odd tail":               func(_ *fakeRing, s *Session) { s.page.Load().Tail = 4 },
		"odd size":               func(r *fakeRing, _ *Session) { r.area[0] = 9 },
		"a record past the head": func(r *fakeRing, _ *Session) { r.area[1] = 0x0f },
		"a record too short":     func(r *fakeRing, _ *Session) { r.area[0] = 16 },
		"parts past the record":  func(r *fakeRing, _ *Session) { (*abi.Event)(unsafe.Pointer(&r.area[0])).Strings = 600 },
	} {
		r := newFakeRing(4096)
		s := sessionOf(t, r, "vfs_write len=%a2:u64", EventOptions{})
		r.put(abi.Event{Kind: abi.EventEntry, Values: 1}, make([]byte, 8))
		spoil(r, s)
		if err := s.Events(context.Background(), func(*probes.Event) {}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
