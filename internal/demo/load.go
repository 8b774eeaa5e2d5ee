// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// A load is a number of clients that write numbered keys, each the next one only after the one before was acknowledged. So what a
// client was promised is one number: every key below it.
type load struct {
	address string
	clients []*client
	ended   sync.WaitGroup

	mu      sync.Mutex // guards what follows, and the counts of the clients
	changed *sync.Cond // something of it has changed
	stopped bool
	failure error
	checks  int
	last    time.Time     // the last acknowledgement of any client
	longest time.Duration // between two of them, since startOutage
}

type client struct {
	number      int
	acked       int // writes acknowledged
	connections int // made
	here        int // writes acknowledged on the present one
	before      int // connections made until startOutage
}

// pipelined is how many writes a client has in flight.
const pipelined = 8

// patience is how long the clients may be without any progress before the demo fails.
const patience = 30 * time.Second

func key(client, n int) string { return fmt.Sprintf("demo:%d:%d", client, n) }

// value depends on the key, so that one key's value under another one is noticed.
func value(client, n int) string {
	return fmt.Sprintf("%d/%d/%016x", client, n, (uint64(n)+1)*0x9e3779b97f4a7c15^uint64(client)<<48)
}

func startLoad(address string, clients int) *load {
	l := &load{address: address}
	l.changed = sync.NewCond(&l.mu)
	for i := range clients {
		c := &client{number: i}
		l.clients = append(l.clients, c)
		l.ended.Go(func() { l.run(c) })
	}
	return l
}

// run is one client: it writes and checks until it is told to stop, and connects again when its connection ends.
func (l *load) run(c *client) {
	for {
		conn, err := connect(l.address, patience)
		if err != nil {
			l.fail(fmt.Errorf("client %d: %w", c.number, err))
			return
		}
		l.mu.Lock()
		c.connections++
		c.here = 0
		l.mu.Unlock()
		err = l.use(c, conn)
		conn.Close()
		var reply errReply
		var lost lostError
		if err == nil || errors.As(err, &reply) || errors.As(err, &lost) {
			if err != nil {
				l.fail(fmt.Errorf("client %d: %w", c.number, err))
			}
			return
		}
	}
}

// lostError is an acknowledged write that is not there.
type lostError struct{ key, expected, seen string }

func (e lostError) Error() string {
	return fmt.Sprintf("%s was acknowledged as %q and is now %q", e.key, e.expected, e.seen)
}

// use writes and checks over one connection. An error of the connection leaves some writes unknown: they were not acknowledged, so
// nothing was promised, and they are written again.
func (l *load) use(c *client, conn *conn) error {
	for {
		l.mu.Lock()
		next, stopped := c.acked, l.stopped
		l.mu.Unlock()
		if stopped {
			return nil
		}
		commands := make([][]string, 0, pipelined+1)
		for n := next; n < next+pipelined; n++ {
			commands = append(commands, []string{"SET", key(c.number, n), value(c.number, n)})
		}
		old := -1
		if next > 0 {
			old = rand.IntN(next)
			commands = append(commands, []string{"GET", key(c.number, old)})
		}
		answers, err := conn.pipeline(commands...)
		if err != nil {
			return err
		}
		for i, answer := range answers[:pipelined] {
			if answer != "OK" {
				return errReply(fmt.Sprintf("SET %s: %s", key(c.number, next+i), answer))
			}
		}
		if old >= 0 && answers[pipelined] != value(c.number, old) {
			return lostError{key(c.number, old), value(c.number, old), answers[pipelined]}
		}
		l.mu.Lock()
		c.acked += pipelined
		c.here += pipelined
		if old >= 0 {
			l.checks++
		}
		now := time.Now()
		if !l.last.IsZero() {
			l.longest = max(l.longest, now.Sub(l.last))
		}
		l.last = now
		l.changed.Broadcast()
		l.mu.Unlock()
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = err
	}
	l.stopped = true
	l.changed.Broadcast()
}

// waitFor blocks until the condition holds (called with mu held) or a client has failed.
func (l *load) waitFor(holds func() bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !holds() && l.failure == nil {
		l.changed.Wait()
	}
	return l.failure
}

// advance waits until each client has had n more writes acknowledged.
func (l *load) advance(n int) error {
	l.mu.Lock()
	goals := make([]int, len(l.clients))
	for i, c := range l.clients {
		goals[i] = c.acked + n
	}
	l.mu.Unlock()
	return l.waitFor(func() bool {
		for i, c := range l.clients {
			if c.acked < goals[i] {
				return false
			}
		}
		return true
	})
}

// startOutage is called before the server goes away, endOutage when it is back.
func (l *load) startOutage() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = 0
	for _, c := range l.clients {
		c.before = c.connections
	}
}

// endOutage waits until each client has connected again and written, and gives the longest time in which no client had a write
// acknowledged.
func (l *load) endOutage() (time.Duration, error) {
	err := l.waitFor(func() bool {
		for _, c := range l.clients {
			if c.connections == c.before || c.here == 0 {
				return false
			}
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest, err
}

// stop ends the clients and gives the error of the first one that failed.
func (l *load) stop() error {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.ended.Wait()
	return l.failure
}

// acknowledged is the number of writes that the server has promised to have.
func (l *load) acknowledged() int { return l.sum(func(c *client) int { return c.acked }) }

// reconnects is the number of connections after each client's first one.
func (l *load) reconnects() int { return l.sum(func(c *client) int { return max(0, c.connections-1) }) }

func (l *load) sum(of func(*client) int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := 0
	for _, c := range l.clients {
		total += of(c)
	}
	return total
}

// checked is the number of old keys that clients have read back while they wrote.
func (l *load) checked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.checks
}

// verify reads back every acknowledged key, after stop, and counts those that are missing or wrong.
func (l *load) verify() (lost int, err error) {
	conn, err := connect(l.address, patience)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	const batch = 500
	for _, c := range l.clients {
		for begin := 0; begin < c.acked; begin += batch {
			end := min(begin+batch, c.acked)
			commands := make([][]string, 0, batch)
			for n := begin; n < end; n++ {
				commands = append(commands, []string{"GET", key(c.number, n)})
			}
			answers, err := conn.pipeline(commands...)
			if err != nil {
				return 0, err
			}
			for i, answer := range answers {
				if n := begin + i; answer != value(c.number, n) {
					lost++
				}
			}
		}
	}
	return lost, nil
}
