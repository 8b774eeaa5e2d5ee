// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"time"

	"github.com/trapline/trapline/loader"
	"github.com/trapline/trapline/probes"
)

// A tracer is one run of trapline trace.
type tracer struct {
	app     *app
	s       *settings
	o       *probingSettings
	specs   []*probes.Spec
	log     *slog.Logger
	session *loader.Session
	out     *output
	tasks   *tasks
	screen  *screen      // nil if no table is redrawn in place
	events  *eventWriter // nil without --events
	began   time.Time
	over    time.Time     // when measuring ended; zero while it goes on
	last    *probes.Table // the one before, for rates
	paused  bool
	globs   map[string]bool // labels of probes that a glob named: shown when they have something to show
	command []string

	asked       chan os.Signal // gives the signal that ends the trace, if it came while no command ran
	interrupted bool           // asked has been used; only for the goroutine that takes signals
}

// trace is trapline trace: it places probes and shows what they measure until the traced command or processes have ended,
// the time is over, or a signal comes. words are the probes, command what stands behind "--", nil if there is no "--".
func (a *app) trace(s *settings, words, command []string) int {
	status, err := a.runTrace(s, words, command)
	if err != nil {
		return a.failProbe("trace", err)
	}
	return status
}

func (a *app) runTrace(s *settings, words, command []string) (status int, err error) {
	largeHeap()
	specs, err := parseProbes(words)
	if err != nil {
		return 0, err
	}
	if command != nil && len(command) == 0 {
		return 0, usagef("a command is missing behind --")
	}
	if s.probing.list {
		return a.listPlaces(s, specs), nil
	}
	log, err := openLog(&settings{verbosity: s.verbosity}, a.stderr)
	if err != nil {
		return 0, err
	}
	t := &tracer{app: a, s: s, o: &s.probing, specs: specs, command: command, log: log.Logger, tasks: &tasks{}, asked: make(chan os.Signal, 1)}
	if err := t.tasks.open(t.o.pids); err != nil {
		return 0, err
	}
	if err := t.place(len(command) > 0); err != nil {
		return 0, err
	}
	defer t.session.Close()
	if t.out, err = openOutput(t.o.output, len(command) > 0); err != nil {
		return 0, err
	}
	if err := t.warn(); err != nil {
		return 0, err
	}
	return t.run(command)
}

// largeHeap lets the heap grow as Go would: the symbols and types of a kernel take more than main allows, and no target waits
// for a collection here.
func largeHeap() {
	debug.SetMemoryLimit(math.MaxInt64)
	debug.SetGCPercent(100)
}

// parseProbes reads the probes of the command line.
func parseProbes(words []string) ([]*probes.Spec, error) {
	if len(words) == 0 {
		return nil, usagef("want at least one PROBE, as vfs_read, syscall:openat or uprobe:libc:malloc")
	}
	var specs []*probes.Spec
	for _, word := range words {
		spec, err := probes.Parse(word)
		if err != nil {
			var e *probes.ParseError
			if errors.As(err, &e) && len(specs) > 0 && (word == "if" || strings.Contains(word, "=") || strings.HasPrefix(word, "$") || strings.HasPrefix(word, "%")) {
				e.Hint = "a probe with its arguments and its predicate is one word of the command line: put it in quotes"
			}
			return nil, err
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// place opens the session. A signal gives it up, a second one ends the program.
func (t *tracer) place(command bool) error {
	ctx, stop := untilSignal()
	defer stop()
	opts := &loader.Options{
		Backend: t.o.backend, Filter: command || len(t.o.pids) > 0, CPUTime: t.o.cpu, Strict: t.o.strict, Log: t.log, NoCalibration: t.o.noCalibrate,
	}
	if t.o.events {
		opts.Events = &loader.EventOptions{Registers: t.o.regs, Stack: t.o.stack}
	}
	session, err := loader.Open(ctx, t.specs, opts)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			err = session.Close()
		} else if errors.Is(err, context.Canceled) {
			err = nil // it says the same
		}
		return errors.Join(errors.New("interrupted while probes were placed; none is left"), err)
	case err != nil:
		return err
	}
	t.session = session
	t.globs = map[string]bool{}
	for _, p := range session.Probes() {
		if p.Spec.Glob() {
			t.globs[p.Label] = true
		}
	}
	return nil
}

// run measures, from the first hit to the last table.
func (t *tracer) run(command []string) (status int, err error) {
	for _, pid := range t.o.pids {
		if err := t.session.Follow(pid); err != nil && !errors.Is(err, os.ErrProcessDone) { // its end is seen below
			return 0, err
		}
	}
	t.began = time.Now()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endSignals...) // before the terminal is changed
	if t.o.events {
		t.startEvents()
	} else if t.live(len(command) > 0) {
		t.screen = openScreen(t.out.file, len(command) == 0)
		defer t.screen.close() // also if something panics
	}
	go func() { // to the end of the program
		for sig := range signals {
			t.signal(sig)
		}
	}()
	t.session.Enable()
	if len(command) > 0 {
		err = t.tasks.launch(t.session, command)
	} else {
		t.tasks.watch()
	}
	if err == nil {
		err = t.loop()
	}
	t.over = time.Now()
	t.screen.close()
	// Events may still be dropped until the ring is empty, so the last table is read behind them.
	detachErr := t.session.Detach()
	eventsErr := t.events.finish()
	t.tasks.wait()
	if err = errors.Join(err, detachErr, eventsErr); err != nil && t.tasks.cmd == nil && len(command) > 0 {
		return 0, errors.Join(err, t.screen.clear(t.out.width())) // it never ran: there is nothing to show
	}
	return t.tasks.status, errors.Join(err, t.finish())
}

// loop shows tables until the trace is over.
func (t *tracer) loop() error {
	var over <-chan time.Time
	if t.o.duration > 0 {
		timer := time.NewTimer(t.o.duration)
		defer timer.Stop()
		over = timer.C
	}
	every := t.o.interval
	if t.events != nil {
		every = flushEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	if t.screen != nil {
		if err := t.tick(); err != nil { // so that there is something to see at once
			return err
		}
	}
	for {
		var err error
		select {
		case <-over:
			return t.tasks.end()
		case <-t.events.reached():
			return t.tasks.end()
		case <-t.tasks.ended:
			return nil
		case sig := <-t.asked:
			if t.tasks.cmd == nil {
				return nil
			}
			_, err = t.tasks.signal(sig) // it came while the command was being started
		case <-tick.C:
			err = t.tick()
		case <-t.screen.resized():
			err = t.draw()
		case <-t.screen.stopped():
			t.screen.suspend()
			err = t.draw()
		case <-t.screen.continued():
			t.screen.renew()
			err = t.draw()
		case key := <-t.screen.pressed():
			if key == 'q' {
				return nil
			}
			err = t.key(key)
		}
		if err != nil {
			return err
		}
	}
}

// table reads the rows.
func (t *tracer) table() *probes.Table {
	now := t.over
	if now.IsZero() {
		now = time.Now()
	}
	table := &probes.Table{Elapsed: now.Sub(t.began), Time: now, Sort: t.o.sort, Reverse: t.o.reverse}
	table.Rows = t.session.Rows(nil)
	if missed, among := t.session.SharedMissed(); missed > 0 {
		table.Notes = append(table.Notes, fmt.Sprintf("missed: %d hits of %d probes that share one attachment; of which probe is not known", missed, among))
	}
	if n := t.session.Unfollowed(); n > 0 {
		table.Notes = append(table.Notes, "not traced: "+count(int(n), "task that was", "tasks that were")+" started and could not be marked")
	}
	return table
}

// tick shows what there is after each interval.
func (t *tracer) tick() error {
	if t.events != nil {
		return t.events.flush()
	}
	if t.screen == nil && !t.o.intervalGiven || t.paused {
		return nil
	}
	table := t.table()
	table.SetRates(t.last)
	t.last = table
	if t.screen != nil {
		return t.draw()
	}
	return t.print(table)
}

// finish shows the last table: of the whole time, with every row.
func (t *tracer) finish() error {
	table := t.table()
	table.SetRates(nil)
	table.Final = true
	t.last = table
	if err := t.screen.clear(t.out.width()); err != nil {
		return err
	}
	return errors.Join(t.print(table), t.out.close())
}
