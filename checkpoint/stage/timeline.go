// SPDX-License-Identifier: Apache-2.0

// Package stage names the stages of a dump and of a restore and keeps their time.
//
// An engine tells a [Timeline] where it is:
//
//	s := tl.Begin(stage.Pages, pid)
//	s.Add(stage.Counts{Pages: 12, Bytes: 12 << 12})
//	s.End()
//
// A nil Timeline works and costs nothing, not even a look at the clock. Whoever wants to know listens
// ([Timeline.Listen]), prints the table ([Timeline.WriteTable]) or takes the data ([Timeline.Report], which is JSON-able).
package stage

import (
	"sync"
	"time"
)

// Counts is what a stage did, apart from taking time.
type Counts struct {
	Bytes int64 `json:"bytes,omitempty"` // bytes moved to or from images
	Pages int64 `json:"pages,omitempty"` // memory pages among them
	Calls int64 `json:"calls,omitempty"` // system calls made inside the target
}

func (c *Counts) add(d Counts) {
	c.Bytes += d.Bytes
	c.Pages += d.Pages
	c.Calls += d.Calls
}

// EventKind says what happened.
type EventKind int

// What a listener is told.
const (
	Began    EventKind = iota // a stage began
	Ended                     // a stage ended: Dur and Counts are set
	Progress                  // inside a stage: Done of Total bytes
	Froze                     // the last task of the tree stopped
	Thawed                    // the tree runs again, or is gone
)

// Event is what a listener gets. Stage and PID are zero for Froze and Thawed.
type Event struct {
	Kind        EventKind
	Op          Op
	Stage       Name
	PID         int           // 0: the whole tree
	At          time.Duration // since the timeline's start
	Dur         time.Duration // of the stage, at its end
	Counts      Counts
	Done, Total int64 // bytes, with Progress
}

// Record is one stage of one process. Those of several processes may overlap: the engine works on one while another is at
// its remote calls.
type Record struct {
	Stage Name          `json:"stage"`
	PID   int           `json:"pid"`      // 0: the whole tree
	Start time.Duration `json:"start_ns"` // since the timeline's start, ns
	Dur   time.Duration `json:"dur_ns"`   // ns; -1 while it runs
	Counts
}

// Timeline collects the stages of one operation. Its methods may be called from any goroutine, and on nil.
type Timeline struct {
	op    Op
	began time.Time

	mu        sync.Mutex
	recs      []Record
	listeners []func(Event)
	froze     time.Duration // -1: not yet
	frozen    time.Duration // finished frozen time
	end       time.Duration // of the last stage that ended
}

// New starts a timeline now.
func New(op Op) *Timeline {
	return &Timeline{op: op, began: time.Now(), froze: -1}
}

// Began is when the timeline started; zero of a nil Timeline.
func (t *Timeline) Began() time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.began
}

// Listen calls fn at every event from now on, in the goroutine that caused it, with no lock held.
// fn must be quick: the target may be frozen meanwhile.
func (t *Timeline) Listen(fn func(Event)) {
	if t == nil || fn == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners = append(t.listeners[:len(t.listeners):len(t.listeners)], fn)
}

// Span is a stage that runs. Its zero value (from a nil Timeline) does nothing.
type Span struct {
	t *Timeline
	i int
}

// Begin starts a stage for the process pid, or with pid 0 for the whole tree.
func (t *Timeline) Begin(n Name, pid int) Span {
	if t == nil {
		return Span{}
	}
	t.mu.Lock()
	at := time.Since(t.began)
	i := len(t.recs)
	t.recs = append(t.recs, Record{Stage: n, PID: pid, Start: at, Dur: -1})
	ls := t.listeners
	t.mu.Unlock()
	for _, fn := range ls {
		fn(Event{Kind: Began, Op: t.op, Stage: n, PID: pid, At: at})
	}
	return Span{t, i}
}

// Add counts what the stage did.
func (s Span) Add(c Counts) {
	if s.t == nil {
		return
	}
	s.t.mu.Lock()
	s.t.recs[s.i].add(c)
	s.t.mu.Unlock()
}

// Progress tells listeners that done of total bytes are through.
func (s Span) Progress(done, total int64) {
	if s.t == nil {
		return
	}
	s.t.mu.Lock()
	ls := s.t.listeners
	r := s.t.recs[s.i]
	s.t.mu.Unlock()
	for _, fn := range ls {
		fn(Event{Kind: Progress, Op: s.t.op, Stage: r.Stage, PID: r.PID, At: time.Since(s.t.began), Counts: r.Counts, Done: done, Total: total})
	}
}

// End ends the stage. A second End of the same span does nothing, so that it can be deferred as well.
func (s Span) End() {
	t := s.t
	if t == nil {
		return
	}
	t.mu.Lock()
	r := &t.recs[s.i]
	if r.Dur >= 0 {
		t.mu.Unlock()
		return
	}
	at := time.Since(t.began)
	r.Dur = at - r.Start
	t.end = max(t.end, at)
	ev := Event{Kind: Ended, Op: t.op, Stage: r.Stage, PID: r.PID, At: at, Dur: r.Dur, Counts: r.Counts}
	ls := t.listeners
	t.mu.Unlock()
	for _, fn := range ls {
		fn(ev)
	}
}

// Freeze marks the moment from which the target does not run; the first call counts until the next Thaw.
func (t *Timeline) Freeze() { t.mark(Froze) }

// Thaw marks the moment at which the target runs again or is gone.
func (t *Timeline) Thaw() { t.mark(Thawed) }

func (t *Timeline) mark(k EventKind) {
	if t == nil {
		return
	}
	t.mu.Lock()
	at := time.Since(t.began)
	switch {
	case k == Froze && t.froze < 0:
		t.froze = at
	case k == Thawed && t.froze >= 0:
		t.frozen += at - t.froze
		t.froze = -1
	default:
		t.mu.Unlock()
		return
	}
	ls := t.listeners
	t.mu.Unlock()
	for _, fn := range ls {
		fn(Event{Kind: k, Op: t.op, At: at})
	}
}

// Frozen returns for how long the target has not run so far.
func (t *Timeline) Frozen() time.Duration {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.froze >= 0 {
		return t.frozen + time.Since(t.began) - t.froze
	}
	return t.frozen
}
