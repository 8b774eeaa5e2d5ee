// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/stage"
	"github.com/trapline/trapline/loader"
	"github.com/trapline/trapline/probes"
)

const (
	// ringBytes holds some 400,000 calls by eBPF: what a large restore makes between two looks of the reader.
	ringBytes = 64 << 20
	// maxCalls bounds the memory that a profile takes: 32 bytes a call while it is made, and 100 more when the report is.
	maxCalls = 2 << 20
	// chunkCalls are kept together: what has come is never moved while the target may be frozen.
	chunkCalls = 1 << 14
	// maxProbes is how many a call can name.
	maxProbes = 1 << 16
)

// Options say what is profiled.
type Options struct {
	What    string   // "dump", "restore", or the command's name
	Command []string // for the report
	Op      stage.Op // whose stages come from a timeline; not with Map
	Map     *Map     // whose stages are functions of a program; nil with Op
	Probes  []string // names of sets, or probe expressions; empty is the set "default"
	Backend string   // as in loader.Options
	Log     *slog.Logger
}

// A Recorder collects what a report is made of, while an operation runs. Its methods may be called from any goroutine, but for Stop,
// which is called once, behind everything else.
type Recorder struct {
	opts    Options
	session *loader.Session
	report  Report
	stages  []StageInfo
	probes  []Probe
	byLabel map[string]role
	stageOf []int           // by function of the map
	own     map[uint32]bool // threads of the profiler itself

	cancel context.CancelFunc // ends the reading of events
	read   chan error         // its end

	mu       sync.Mutex
	chunks   [][]call
	taken    int    // calls in chunks
	marks    []mark // entries and returns of the map's functions
	comms    map[uint32]string
	beyond   uint64
	timeline *stage.Timeline
	base     int64 // the timeline's start, ns of CLOCK_MONOTONIC
	open     []openSpan
	targets  map[int]bool // processes that were followed by number: those of a dump's tree
	froze    int64        // 0: not yet
	thawed   int64
	now      int // the stage that runs; -1: none
	stopped  bool
	warnings []string
}

// role is what a placed probe is for.
type role struct {
	probe    int // index into Recorder.probes; -1 for a function of the map
	function int // index into the map's functions of the program
	entry    bool
	errors   bool // what it returns is an error number if it is one
}

// A mark is one entry or return of a function that stands for a stage.
type mark struct {
	at       int64
	tid, pid uint32
	function int
	entry    bool
}

// openSpan is a stage of the timeline that has begun.
type openSpan struct {
	name stage.Name
	pid  int
}

// Open places the probes; they count from Enable on. What could not be placed is said in the report's warnings, unless it was asked
// for by an expression: that is an error, which wraps what loader.Open's do.
func Open(ctx context.Context, opts *Options) (*Recorder, error) {
	r := &Recorder{
		opts: *opts, byLabel: map[string]role{}, own: map[uint32]bool{}, comms: map[uint32]string{}, targets: map[int]bool{}, now: -1,
		read: make(chan error, 1),
	}
	if r.opts.Log == nil {
		r.opts.Log = slog.New(slog.DiscardHandler)
	}
	r.nameStages()
	var functions []mapProbe
	var err error
	if r.opts.Map != nil {
		if functions, err = r.opts.Map.probes(); err != nil {
			return nil, err
		}
	}
	set, err := choose(r.opts.Probes, r.opts.Map)
	if err != nil {
		return nil, err
	}
	specs := slices.Clone(set.specs)
	for _, f := range functions {
		specs = append(specs, f.spec)
	}
	r.session, err = loader.Open(ctx, specs, &loader.Options{
		Backend: r.opts.Backend, Contexts: uint32(len(r.stages)) + 1, Filter: true, Log: r.opts.Log,
		Events: &loader.EventOptions{RingBytes: ringBytes},
	})
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := r.assign(set, functions); err != nil {
		return nil, errors.Join(err, r.session.Close())
	}
	r.describe()
	reading, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	started := make(chan struct{})
	go func() { r.read <- r.readEvents(reading, started) }()
	<-started
	return r, nil
}

func (r *Recorder) nameStages() {
	if r.opts.Map != nil {
		r.stages, r.stageOf = r.opts.Map.stages(), r.opts.Map.stageOf()
		return
	}
	for _, info := range stage.Of(r.opts.Op) {
		r.stages = append(r.stages, StageInfo{Name: string(info.Name), What: info.What, Peer: info.CRIU})
	}
}

// assign says of each placed probe what it is for.
func (r *Recorder) assign(set *set, functions []mapProbe) error {
	placed := map[*probes.Spec]bool{}
	for _, p := range r.session.Probes() {
		placed[p.Spec] = true
		if i := slices.IndexFunc(functions, func(f mapProbe) bool { return f.spec == p.Spec }); i >= 0 {
			r.byLabel[p.Label] = role{probe: -1, function: functions[i].function, entry: functions[i].entry}
			continue
		}
		if set.left(p.Label) {
			continue // a call that says nothing; see sets.go
		}
		if len(r.probes) == maxProbes {
			return fmt.Errorf("profile: more than %d places: name fewer", maxProbes)
		}
		r.byLabel[p.Label] = role{probe: len(r.probes), errors: p.Spec.Provider == probes.ProviderSyscall}
		r.probes = append(r.probes, Probe{Label: p.Label, Mechanism: p.Mechanism, Wait: set.waits(p.Label)})
	}
	if r.opts.Map != nil {
		missing, err := r.opts.Map.missing(functions, placed)
		if err != nil {
			return err
		}
		r.warnings = append(r.warnings, missing...)
		for call := range r.opts.Map.calls() {
			if !slices.ContainsFunc(r.probes, func(p Probe) bool { return bare(p.Label) == call }) {
				r.warnings = append(r.warnings, fmt.Sprintf("the stage map names %s, which can't be probed here: is there such a call?", call))
			}
		}
	}
	warnings, err := set.missing(placed, r.session.Warnings())
	r.warnings = append(r.warnings, warnings...)
	return err
}

// describe fills in what the report says of the machine.
func (r *Recorder) describe() {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		r.report.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	r.report.Format, r.report.Arch, r.report.CPUs = Format, runtime.GOARCH, runtime.NumCPU()
	r.report.What, r.report.Command = r.opts.What, r.opts.Command
	r.report.Engine = "trapline"
	if r.opts.Map != nil {
		r.report.Engine, r.report.StageMap = r.opts.Map.Engine, r.opts.Map.Name
	}
}

// Own takes the calling goroutine's thread out of the profile, for ever: what shows the profile while it is made is not part of what
// is profiled. The goroutine stays on that thread.
func (r *Recorder) Own() {
	runtime.LockOSThread()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own[uint32(unix.Gettid())] = true
}

// Follow profiles a process that runs already, and what it starts from now on. target says that it is what is worked on: what it
// does by itself, before it was frozen or after it ran again, then explains nothing.
func (r *Recorder) Follow(pid int, target bool) error {
	if err := r.session.Follow(pid); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("profile: %w", err)
	}
	if target {
		r.mu.Lock()
		r.targets[pid] = true
		r.mu.Unlock()
	}
	return nil
}

// Launch starts a command that is profiled from its execve on. The caller waits for it.
func (r *Recorder) Launch(cmd *exec.Cmd) error { return r.session.Launch(cmd) }

// Enable begins to count.
func (r *Recorder) Enable() {
	r.report.Began = time.Now()
	r.session.Enable()
}

// Timeline starts the timeline of the operation.
func (r *Recorder) Timeline() *stage.Timeline {
	tl := stage.New(r.opts.Op)
	base := monotonicAt(tl.Began())
	r.mu.Lock()
	r.timeline, r.base = tl, base
	r.mu.Unlock()
	tl.Listen(r.listen)
	return tl
}

// listen keeps the context up, so that the kernel counts for the right stage.
func (r *Recorder) listen(e stage.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	switch e.Kind {
	case stage.Began:
		r.open = append(r.open, openSpan{e.Stage, e.PID})
	case stage.Ended:
		if i := slices.Index(r.open, openSpan{e.Stage, e.PID}); i >= 0 {
			r.open = slices.Delete(r.open, i, i+1)
		}
	case stage.Froze:
		r.froze = r.base + int64(e.At)
		return
	case stage.Thawed:
		r.thawed = r.base + int64(e.At)
		return
	default:
		return
	}
	now := -1
	if len(r.open) > 0 {
		last := r.open[len(r.open)-1].name
		now = slices.IndexFunc(r.stages, func(s StageInfo) bool { return s.Name == string(last) })
	}
	r.enter(now)
}

// enter makes a stage the one that runs; -1 is none. The caller holds the lock.
func (r *Recorder) enter(stage int) {
	if stage != r.now {
		r.now = stage
		r.session.SetContext(uint32(stage + 1))
	}
}

// readEvents takes the calls from the kernel until ctx ends.
func (r *Recorder) readEvents(ctx context.Context, started chan<- struct{}) error {
	r.Own()
	close(started)
	return r.session.Events(ctx, r.take)
}

// take keeps one event.
func (r *Recorder) take(e *probes.Event) {
	role, ok := r.byLabel[e.Probe]
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.comms[e.TID] != e.Comm { // a restored process gets its own name at some time
		r.comms[e.TID] = e.Comm
	}
	switch {
	case r.own[e.TID]:
	case role.probe < 0:
		r.marks = append(r.marks, mark{at: int64(e.Time), tid: e.TID, pid: e.PID, function: role.function, entry: role.entry})
		if role.entry { // late, as events are: for the table that is shown meanwhile
			r.enter(r.stageOf[role.function])
		}
	case r.taken == maxCalls:
		r.beyond++
	default: // of an entry probe, which has no latency, a moment
		if r.taken%chunkCalls == 0 {
			r.chunks = append(r.chunks, make([]call, 0, chunkCalls))
		}
		last := &r.chunks[len(r.chunks)-1]
		*last = append(*last, call{
			start: int64(e.Time) - int64(e.Latency), end: int64(e.Time), tid: e.TID, pid: e.PID, probe: uint16(role.probe), fail: role.errors && failed(e),
		})
		r.taken++
	}
}

// failed says whether what a function returned is an error number.
func failed(e *probes.Event) bool { return e.HasRet && int64(e.Ret) < 0 && int64(e.Ret) >= -4095 }

// Rows gives what was measured so far, by stage, for a table that is shown meanwhile.
func (r *Recorder) Rows() []probes.Row {
	rows := r.session.Rows(nil)
	kept := rows[:0]
	for _, row := range rows {
		if role, ok := r.byLabel[row.Probe]; !ok || role.probe < 0 {
			continue
		}
		if i := int(row.Context); i > 0 && i <= len(r.stages) {
			row.ContextName = r.stages[i-1].Name
		} else {
			row.ContextName = "(no stage)"
		}
		kept = append(kept, row)
	}
	return kept
}

// Running is the stage that runs now; "" is none.
func (r *Recorder) Running() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now < 0 {
		return ""
	}
	return r.stages[r.now].Name
}
