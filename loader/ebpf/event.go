// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/trapline/trapline/bpf"
	neutral "github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// layout is where in an event what lies: a header, then the parts that the session asks for. 0 is a part that is missing.
type layout struct {
	strings, words, stack, size int
}

const (
	headerSize   = int(unsafe.Sizeof(bpf.TraceEvent{}))
	stringsBytes = neutral.MaxStrings * neutral.StringSize
	wordsBytes   = neutral.MaxWords * 8
	stackBytes   = neutral.MaxFrames * 8
)

// layoutEvents decides the layout and tells the programs.
func (s *Session) layoutEvents(consts constants, strings bool) {
	l := layout{size: headerSize}
	part := func(wanted bool, bytes int) (offset int) {
		if wanted {
			offset = l.size
			l.size += bytes
		}
		return offset
	}
	l.strings = part(strings, stringsBytes)
	l.words = part(s.opts.Events.Registers, wordsBytes)
	l.stack = part(s.opts.Events.Stack, stackBytes)
	s.layout = l
	consts["events_used"] = uint32(1)
	consts["strings_offset"], consts["words_offset"], consts["stack_offset"] = uint32(l.strings), uint32(l.words), uint32(l.stack)
	consts["event_size"] = uint32(l.size)
}

// errNoEvents is what Events says of a session that was opened without Options.Events.
var errNoEvents = errors.New("the session sends no events: it was opened without them")

// eventWait is how long an event may lie in the ring before it is read. The programs wake the reader only when much has
// come together, so that a million events do not cost a million wake-ups.
const eventWait = 50 * time.Millisecond

// Events calls f for every event until ctx ends, in the order in which the kernel sent them. The event is valid only
// during the call. Events that found the ring full are counted: see probes.Losses.Dropped. Only one call may run at a
// time. When ctx ends, what is in the ring is still delivered.
func (s *Session) Events(ctx context.Context, f func(*probes.Event)) error {
	if s.opts.Events == nil {
		return errNoEvents
	}
	r, err := ringbuf.NewReader(s.objects.maps[mapEvents])
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer r.Close()
	d := decoder{s: s}
	var rec ringbuf.Record
	for {
		if ctx.Err() != nil {
			if err := r.Flush(); err != nil {
				return fmt.Errorf("read events: %w", err)
			}
		}
		r.SetDeadline(time.Now().Add(eventWait))
		err := r.ReadInto(&rec)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			continue
		case errors.Is(err, ringbuf.ErrFlushed), errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("read events: %w", err)
		}
		if e := d.decode(rec.RawSample); e != nil {
			f(e)
		}
	}
}

// decoder makes events of records, in memory that it uses again.
type decoder struct {
	s      *Session
	event  probes.Event
	values []probes.Value
	stack  []uint64
	words  []uint64
}

// decode reads one record; nil if it is none of this session's.
func (d *decoder) decode(b []byte) *probes.Event {
	if len(b) < d.s.layout.size {
		return nil
	}
	h := (*bpf.TraceEvent)(unsafe.Pointer(&b[0])) // the ring aligns records to 8 bytes, and the reader copies them
	if int(h.Probe) >= len(d.s.all) {
		return nil
	}
	p := d.s.all[h.Probe]
	e := &d.event
	*e = probes.Event{
		Time: h.Time, Probe: p.Label(), Kind: probes.Kind(h.Kind) + probes.KindEntry, PID: h.Pid, TID: h.Tid, CPU: h.Cpu, Context: h.Context,
		Comm: text(unsafe.Slice((*byte)(unsafe.Pointer(&h.Comm[0])), len(h.Comm))),
	}
	if p.Kind == probes.KindLatency {
		e.HasLatency, e.Latency = true, h.Latency
	}
	if p.Kind != probes.KindEntry {
		e.HasRet, e.Ret = true, h.Retval
	}
	e.Args = d.args(h, b)
	if d.s.layout.words != 0 {
		e.Trapframe = d.registers(b[d.s.layout.words:], h.StackTop)
		if p.Kind == probes.KindEntry && p.KernelFunction() && p.Symbol.Address != 0 {
			// A kprobe that sits on ftrace's place has a PC some bytes behind it.
			e.Trapframe.SetPC(p.Address())
		}
	}
	if d.s.layout.stack != 0 {
		e.Stack = d.frames(h.Frames, b[d.s.layout.stack:])
	}
	return e
}

// text is what stands before the first NUL.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func (d *decoder) args(h *bpf.TraceEvent, b []byte) []probes.Value {
	d.values = d.values[:0]
	next := 0 // of the strings
	for i, arg := range d.s.shown[h.Probe] {
		v := probes.Value{Name: arg.Name, Type: arg.Type, Num: h.Number[i]}
		isString := arg.Type.Format == probes.FormatString || arg.Type.Format == probes.FormatUserString
		if isString {
			v.Num = 0
			v.Str = text(b[d.s.layout.strings+next*neutral.StringSize:][:neutral.StringSize])
			next++
		}
		if h.Failed>>i&1 != 0 {
			v.Str, v.Err = "", "memory not readable"
		}
		d.values = append(d.values, v)
	}
	return d.values
}

// registers gives the words of a hit as a trapframe. Programs of some architectures may read only the first part.
func (d *decoder) registers(b []byte, top uint64) *probes.Trapframe {
	d.words = d.words[:0]
	for i := range d.s.arch.Words() {
		d.words = append(d.words, binary.NativeEndian.Uint64(b[8*i:]))
	}
	return probes.NewTrapframe(d.s.arch, d.words, []uint64{top})
}

// frames gives the addresses of a stack; none if the kernel could not walk it.
func (d *decoder) frames(size int32, b []byte) []uint64 {
	d.stack = d.stack[:0]
	for i := 0; i+8 <= int(size) && i < stackBytes; i += 8 {
		d.stack = append(d.stack, binary.NativeEndian.Uint64(b[i:]))
	}
	return d.stack
}
