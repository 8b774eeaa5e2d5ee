// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// errNoEvents is what Events says of a session that was opened without Options.Events.
var errNoEvents = errors.New("the session sends no events: it was opened without them")

// eventWait is how long an event may lie in the ring before it is read. The kernel wakes the reader only when much has come
// together, so that a million events do not cost a million wake-ups.
const eventWait = 50 * time.Millisecond

// headerSize is that of what every event begins with.
const headerSize = int(unsafe.Sizeof(abi.Event{}))

// Events calls f for every event until ctx ends, in the order in which the kernel sent them. The event is valid only
// during the call. Events that found the ring full are counted: see probes.Losses.Dropped. Only one call may run at a
// time. When ctx ends, what is in the ring is still delivered.
func (s *Session) Events(ctx context.Context, f func(*probes.Event)) error {
	if s.opts.Events == nil {
		return errNoEvents
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	d := decoder{s: s}
	for {
		over := ctx.Err() != nil // before the ring is emptied: what was sent until then is read
		if s.closed.Load() {
			return os.ErrClosed
		}
		pending, err := s.drain(&d, f)
		if err != nil {
			return err
		}
		if over && !pending {
			return nil
		}
		if over {
			// A record that a hart reserved is being written, with interrupts off: it takes some µs.
			ctx = context.WithoutCancel(ctx)
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, eventWait)
			err := s.wait(ctx)
			cancel()
			if err != nil {
				return err
			}
			_, err = s.drain(&d, f)
			return err
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
}

// drain delivers what is in the ring. pending says that something is left, which is still being written.
func (s *Session) drain(d *decoder, f func(*probes.Event)) (pending bool, err error) {
	page := s.page.Load()
	for !s.closed.Load() {
		tail := page.Tail // ours alone
		record, next, err := s.ring.record(tail)
		if err != nil {
			return false, err
		}
		if next == tail {
			return atomic.LoadUint64(s.ring.head) != tail, nil
		}
		if record != nil {
			e, err := d.decode(record)
			if err != nil {
				return false, err
			}
			if e != nil {
				f(e)
			}
		}
		atomic.StoreUint64(&page.Tail, next)
	}
	return false, nil
}

// wait waits until the ring has much to read, but not longer than eventWait.
func (s *Session) wait(ctx context.Context) error {
	fds := []unix.PollFd{{Fd: int32(s.group), Events: unix.POLLIN}}
	began := time.Now()
	if _, err := unix.Poll(fds, int(eventWait/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("patch: wait for events: %w", err)
	}
	if fds[0].Revents&unix.POLLIN != 0 || fds[0].Revents == 0 {
		return nil
	}
	// No task is left that is followed: poll comes back at once from now on.
	rest := time.NewTimer(eventWait - time.Since(began))
	defer rest.Stop()
	select {
	case <-ctx.Done():
	case <-rest.C:
	}
	return nil
}

// decoder makes events of records, in memory that it uses again.
type decoder struct {
	s      *Session
	event  probes.Event
	values []probes.Value
	words  []uint64
	stack  []uint64
	frames []uint64
}

// A cursor cuts parts off a record. It ends by itself where the record does.
type cursor []byte

func (c *cursor) take(n int) []byte {
	n = min(n, len(*c))
	part := (*c)[:n]
	*c = (*c)[n:]
	return part
}

// words appends n words to dst.
func (c *cursor) words(dst []uint64, n int) []uint64 {
	for part := c.take(8 * n); len(part) >= 8; part = part[8:] {
		dst = append(dst, binary.NativeEndian.Uint64(part))
	}
	return dst
}

// decode reads one record of headerSize bytes or more; nil if it is none of this session's.
//
//	struct probe_event │ values × u64 │ strings × 128 bytes │ regs × u64 │ stack_words × u64 │ frames × u64
func (d *decoder) decode(b []byte) (*probes.Event, error) {
	h := (*abi.Event)(unsafe.Pointer(&b[0])) // the ring aligns records to 8 bytes
	need := headerSize + 8*(int(h.Values)+int(h.Regs)+int(h.StackWords)+int(h.Frames)) + abi.StringSize*int(h.Strings)
	if need > len(b) {
		return nil, fmt.Errorf("patch: an event of %d bytes should have %d", len(b), need)
	}
	if h.Cookie >= uint64(len(d.s.all)) || h.Kind < abi.EventEntry || h.Kind > abi.EventLatency {
		return nil, nil
	}
	p := d.s.all[h.Cookie]
	e := &d.event
	*e = probes.Event{
		Time: h.Time, Probe: p.Label(), Kind: probes.Kind(h.Kind), PID: h.PID, TID: h.TID, CPU: h.CPU, Context: h.Context, Comm: text(h.Comm[:]),
	}
	if p.Kind == probes.KindLatency {
		e.HasLatency, e.Latency = true, h.Latency
	}
	if p.Kind != probes.KindEntry {
		e.HasRet, e.Ret = true, h.Retval
	}
	rest := cursor(b[headerSize:])
	numbers := rest.take(8 * int(h.Values))
	texts := rest.take(abi.StringSize * int(h.Strings))
	e.Args = d.args(p, h.Failed, numbers, texts)
	if d.s.opts.Events.Registers {
		d.words = rest.words(d.words[:0], int(h.Regs))
		for len(d.words) < probes.RISCV64.Words() {
			d.words = append(d.words, 0)
		}
		d.stack = rest.words(d.stack[:0], int(h.StackWords))
		e.Trapframe = probes.NewTrapframe(probes.RISCV64, d.words, d.stack)
	} else {
		rest.take(8 * (int(h.Regs) + int(h.StackWords)))
	}
	if d.s.opts.Events.Stack {
		d.frames = rest.words(d.frames[:0], int(h.Frames))
		e.Stack = d.frames
	}
	return e, nil
}

// text is what stands before the first NUL.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// args gives the values that the probe shows.
func (d *decoder) args(p *Probe, failed uint32, numbers, texts []byte) []probes.Value {
	d.values = d.values[:0]
	for i, arg := range p.shown {
		v := probes.Value{Name: arg.Name, Type: arg.Type}
		isString := arg.Type.Format == probes.FormatString || arg.Type.Format == probes.FormatUserString
		switch {
		case failed>>i&1 != 0:
			v.Err = "memory not readable"
		case isString && len(texts) >= recipe.StringSize:
			v.Str = text(texts[:recipe.StringSize])
		case !isString && len(numbers) >= 8*(i+1):
			v.Num = binary.NativeEndian.Uint64(numbers[8*i:])
		default:
			v.Err = "not in the event"
		}
		if isString && len(texts) >= recipe.StringSize {
			texts = texts[recipe.StringSize:]
		}
		d.values = append(d.values, v)
	}
	return d.values
}
