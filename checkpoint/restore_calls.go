// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

// calls is a batch of a process that is being restored. Its entries have names for their errors, and descriptors of the
// engine can be lent to it.
type calls struct {
	*inject.Batch
	s       *inject.Session
	channel *inject.Channel // for pass
	numbers *numbers        // of the process, for pass
	names   []callName
	lent    []lent
	failed  error // of pass: the batch must not run
}

// callName is what a call is for, and the address that it is about, if not 0. Without a name the call may fail.
type callName struct {
	what string
	at   uint64
	size int64 // what it returns, if not 0
}

// lent are descriptors and the numbers that they will have.
type lent struct {
	inject.Passed
	want []int
}

func newCalls(s *inject.Session) *calls { return &calls{Batch: s.NewBatch(), s: s} }

// batch begins a batch of a process to which descriptors can be lent.
func (r *restorer) batch(t *task, ch *inject.Channel) *calls {
	c := newCalls(t.s)
	c.channel, c.numbers = ch, t.numbers
	return c
}

// pipeline lets every task that is alive make the calls that build adds to its batch, as a span of the process within that of the
// stage; then, if it is not nil, after. While one is at its calls the batch of the next is built.
func (r *restorer) pipeline(name stage.Name, build func(*task, *calls) error, after func(*task) error) error {
	type flight struct {
		t     *task
		c     *calls
		span  stage.Span
		calls int64
		read  int64
	}
	var out []flight
	land := func() error {
		f := out[0]
		out = out[1:]
		err := f.c.end()
		if err == nil && after != nil {
			err = after(f.t)
		}
		n := f.t.calls() - f.calls
		r.counted += n
		f.span.Add(stage.Counts{Calls: n, Bytes: f.read, Pages: f.read / image.PageSize})
		f.span.End()
		if err != nil {
			return fmt.Errorf("%v: %w", f.t, err)
		}
		return nil
	}
	next := 0 // whose turn it is: the channels go round among those that are alive, so the oldest flight has the next one
	for _, t := range r.tasks {
		if t.dead {
			continue
		}
		// Whose table of descriptors is shared with another can't tell which numbers are free while that is at work.
		for len(out) >= channelsAtOnce || len(out) > 0 && t.sharesTable {
			if err := land(); err != nil {
				return err
			}
		}
		f := flight{t: t, c: r.batch(t, r.channels[next]), span: r.tl.Begin(name, t.pid), calls: t.calls(), read: -r.result.Bytes}
		err := build(t, f.c)
		f.read += r.result.Bytes
		if err == nil {
			err = f.c.begin()
		}
		if err != nil {
			f.span.End()
			return fmt.Errorf("%v: %w", t, err)
		}
		out = append(out, f)
		next = (next + 1) % channelsAtOnce
	}
	for len(out) > 0 {
		if err := land(); err != nil {
			return err
		}
	}
	return nil
}

// do adds a call; an empty name means that it may fail.
func (c *calls) do(name string, nr uintptr, args ...uint64) { c.doAt(name, 0, nr, args...) }

// doAt is do with an address for the error.
func (c *calls) doAt(name string, at uint64, nr uintptr, args ...uint64) {
	for len(c.names) < c.Len() {
		c.names = append(c.names, callName{})
	}
	c.Call(nr, args...)
	c.names = append(c.names, callName{what: name, at: at})
}

// doSize is do for a call that returns how many bytes it has moved: all of them, or it has failed.
func (c *calls) doSize(name string, size int64, nr uintptr, args ...uint64) {
	c.do(name, nr, args...)
	c.names[len(c.names)-1].size = size
}

// more runs what there is if little room is left for more.
func (c *calls) more() error {
	if c.Room() >= callRoom {
		return nil
	}
	return c.run()
}

// room runs what there is unless n bytes are left.
func (c *calls) room(n int) error {
	if c.Room() >= n {
		return nil
	}
	return c.run()
}

// callRoom is more than any call but one with descriptors or with a filter needs.
const callRoom = 4096

// run makes the calls, checks what became of them, and begins anew. The first one that failed is the error.
func (c *calls) run() error {
	if err := c.begin(); err != nil {
		return err
	}
	return c.end()
}

// begin and end are the parts of run. The process is at its calls between them.
func (c *calls) begin() error {
	if c.failed != nil || c.Len() == 0 {
		return c.failed
	}
	return c.s.Begin(c.Batch)
}

func (c *calls) end() error {
	if c.Len() == 0 {
		return nil
	}
	if err := c.s.End(c.Batch); err != nil {
		return err
	}
	for _, l := range c.lent {
		got, err := l.Numbers(c.Batch)
		if err != nil {
			return err
		}
		if !slices.Equal(got, l.want) {
			return fmt.Errorf("descriptors came as %v instead of %v: does the process have some of its own?", got, l.want)
		}
	}
	for i, n := range c.names {
		if n.what == "" {
			continue
		}
		got, err := c.Result(i)
		if err == nil && n.size != 0 && int64(got) != n.size {
			err = fmt.Errorf("%d of %d bytes", got, n.size)
		}
		if err != nil {
			if n.at != 0 {
				return fmt.Errorf("%s at %#x: %w", n.what, n.at, err)
			}
			return fmt.Errorf("%s: %w", n.what, err)
		}
	}
	c.Batch, c.names, c.lent = c.s.NewBatch(), c.names[:0], c.lent[:0]
	return nil
}

// pass sends descriptors and adds their receipt, in the order of their numbers, which it returns.
func (c *calls) pass(own []int, closeOnExec bool) ([]int, error) {
	var all []int
	for chunk := range slices.Chunk(own, inject.MaxRights) {
		if err := c.channel.Send(chunk); err != nil {
			c.failed = err
			return nil, err
		}
		all = append(all, c.receive(c.channel, len(chunk), closeOnExec)...)
	}
	return all, nil
}

// receive adds the receipt of a message with n descriptors and returns their numbers.
func (c *calls) receive(ch *inject.Channel, n int, closeOnExec bool) []int {
	want := make([]int, n)
	for i := range want {
		want[i] = c.numbers.next()
		c.numbers.take(want[i])
	}
	c.lent = append(c.lent, lent{ch.Receive(c.Batch, n, closeOnExec), want})
	return want
}

// giveBack closes what pass has brought.
func (c *calls) giveBack(fds ...int) {
	for _, fd := range fds {
		c.do("", unix.SYS_CLOSE, uint64(fd))
		c.numbers.give(fd)
	}
}

// numbers are the descriptor numbers in use of a process. A new descriptor gets the lowest free one.
type numbers struct {
	used map[int]bool
	low  int // nothing below is free
}

func (n *numbers) take(fd int) {
	if n.used == nil {
		n.used = map[int]bool{}
	}
	n.used[fd] = true
}

func (n *numbers) give(fd int) {
	delete(n.used, fd)
	n.low = min(n.low, fd)
}

// next is the number that the next descriptor gets.
func (n *numbers) next() int {
	for n.used[n.low] {
		n.low++
	}
	return n.low
}
