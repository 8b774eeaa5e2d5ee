// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
)

// calls is a batch of a process that is being restored. Its entries have names for their errors, and descriptors of the
// engine can be lent to it.
type calls struct {
	*inject.Batch
	s      *inject.Session
	names  []callName
	lent   []lent
	failed error // of lend: the batch must not run
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

// callRoom is more than any call but one with descriptors or with a filter needs.
const callRoom = 4096

// run makes the calls, checks what became of them, and begins anew. The first one that failed is the error.
func (c *calls) run() error {
	if c.failed != nil {
		return c.failed
	}
	if c.Len() == 0 {
		return nil
	}
	if err := c.s.Run(c.Batch); err != nil {
		return err
	}
	return c.check()
}

// check looks at the results of a batch that has run, and begins anew.
func (c *calls) check() error {
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

// pass adds the receipt of descriptors, in the order of their numbers, which it returns.
func (c *calls) pass(ch *inject.Channel, t *numbers, own []int, closeOnExec bool) ([]int, error) {
	var all []int
	for chunk := range slices.Chunk(own, inject.MaxRights) {
		p, err := ch.Pass(c.Batch, chunk, closeOnExec)
		if err != nil {
			c.failed = err
			return nil, err
		}
		want := make([]int, len(chunk))
		for i := range chunk {
			want[i] = t.next()
			t.take(want[i])
		}
		c.lent = append(c.lent, lent{p, want})
		all = append(all, want...)
	}
	return all, nil
}

// giveBack closes what pass has brought.
func (c *calls) giveBack(t *numbers, fds ...int) {
	for _, fd := range fds {
		c.do("", unix.SYS_CLOSE, uint64(fd))
		t.give(fd)
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
