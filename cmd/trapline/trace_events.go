// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
	"time"

	"github.com/trapline/trapline/probes"
)

// How events are written: together, but not later than this after they were read.
const (
	flushEvery = 100 * time.Millisecond
	flushBytes = 64 << 10
)

// eventWriter writes events as they come. The nil *eventWriter writes none.
type eventWriter struct {
	out    *output
	format probes.EventFormat
	json   bool
	most   uint64 // events to write; 0 is any number

	stop context.CancelFunc
	done chan error    // what reading came to
	full chan struct{} // closed when most are written

	mu  sync.Mutex
	buf []byte
	n   uint64
	err error // of writing
}

// startEvents begins to read events.
func (t *tracer) startEvents() {
	w := &eventWriter{out: t.out, json: t.s.json, most: t.o.count, done: make(chan error, 1), full: make(chan struct{})}
	if t.needSymbols() {
		symbols, err := probes.LoadSymbols()
		if err != nil {
			t.log.Warn("addresses are shown as numbers", "err", err)
		}
		w.format.Symbols = symbols
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.done <- t.session.Events(ctx, w.add) }()
	t.events = w
}

// needSymbols says whether an event shows addresses.
func (t *tracer) needSymbols() bool {
	for _, spec := range t.specs {
		for i := range spec.Args {
			if spec.Args[i].Type.Format == probes.FormatSymbol {
				return true
			}
		}
	}
	return t.o.stack || t.o.regs
}

// add takes an event.
func (w *eventWriter) add(e *probes.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.most > 0 && w.n >= w.most {
		return
	}
	if w.n == 0 {
		w.format.Start = e.Time
	}
	if w.json {
		w.buf = w.format.AppendJSON(w.buf, e)
	} else {
		w.buf = w.format.AppendText(w.buf, e)
	}
	w.n++
	if w.n == w.most {
		close(w.full)
	}
	if len(w.buf) >= flushBytes {
		w.write()
	}
}

// write empties the buffer. w.mu is held.
func (w *eventWriter) write() {
	if len(w.buf) == 0 || w.err != nil {
		return
	}
	w.err = w.out.write(string(w.buf))
	w.buf = w.buf[:0]
}

// flush writes what waits.
func (w *eventWriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write()
	return w.err
}

// reached is closed when as many events are written as were asked for.
func (w *eventWriter) reached() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.full
}

// written is how many events there were.
func (w *eventWriter) written() uint64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// finish reads and writes what is left.
func (w *eventWriter) finish() error {
	if w == nil {
		return nil
	}
	w.stop()
	if err := <-w.done; err != nil {
		return err
	}
	return w.flush()
}
