// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"

	"github.com/trapline/trapline/bpf"
	"github.com/trapline/trapline/loader/internal/place"
	neutral "github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// Options say what a session measures beyond counts and latencies. The zero value is a table of all tasks.
type Options struct {
	Contexts uint32        // contexts told apart, from 0 on; the last one takes all above. 0 means 1
	Filter   bool          // only tasks named by Follow and Launch, and what they start
	CPUTime  bool          // also time on CPU; two more programs run at every switch of tasks
	Events   *EventOptions // send single events too; nil for none. It makes a bare kernel function an entry, not a latency probe
	Strict   bool          // a place that can't be probed fails Open, also one out of many
	Only     Mechanism     // for tests and comparisons: place kernel functions by this means alone
	Log      *slog.Logger  // nil is silent
}

// EventOptions say what an event carries besides arguments and return value.
type EventOptions struct {
	Registers bool
	Stack     bool // of the kernel
	RingBytes int  // what can wait to be read; 0 means 8 MiB
}

const (
	defaultRing = 8 << 20
	maxRowBytes = 1 << 30 // of all rows together
)

// A Session is a set of placed probes. Its methods may be called from any goroutine; Close ends all others.
type Session struct {
	opts   Options
	kernel *place.Kernel
	arch   *probes.Arch
	cpus   int
	all    []*Probe // by index; some could not be placed
	shown  map[uint32][]probes.Arg
	stack  *stack // what is open, closed in reverse

	objects *objects
	control *control
	rows    *rows
	multis  []multiMisses
	layout  layout

	mu           sync.Mutex
	warnings     []error
	sharedMissed uint64
	sharedAmong  int
	kept         map[string]*ebpf.Program
	detached     bool
	closed       bool
}

// Open resolves the expressions and places the probes, which begin to count at [Session.Enable]. A place of a glob, or one
// expression out of several, that can't be probed is a warning (see [Session.Warnings]), unless Strict is set; if nothing
// at all could be placed it is an error. Errors wrap [ErrNotSupported], [probes.ErrNoSymbol] or [unix.EPERM].
func Open(ctx context.Context, specs []*probes.Spec, opts *Options) (*Session, error) {
	s := &Session{}
	if err := s.open(ctx, specs, opts); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Session) open(ctx context.Context, specs []*probes.Spec, opts *Options) (err error) {
	s.kernel, s.arch, s.shown, s.stack = place.NewKernel(), probes.HostArch(), map[uint32][]probes.Arg{}, &stack{}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	s.opts.Contexts = max(s.opts.Contexts, 1)
	if s.arch == nil {
		return fmt.Errorf("eBPF probes: this architecture: %w", ErrNotSupported)
	}
	if err := Usable(); err != nil {
		return err
	}
	if s.cpus, err = ebpf.PossibleCPU(); err != nil {
		return fmt.Errorf("eBPF probes: number of CPUs: %w", err)
	}
	if err := s.resolve(specs); err != nil {
		return err
	}
	if err := s.makeObjects(); err != nil {
		return err
	}
	s.objects.preload(s.sharedPrograms())
	if err := s.attach(ctx); err != nil {
		return err
	}
	if err := s.attachTaskHooks(slices.ContainsFunc(s.all, (*Probe).HasLatency)); err != nil {
		return err
	}
	if err := s.attachTimekeeping(); err != nil {
		return err
	}
	return nil
}

// sharedPrograms are those that serve the session as a whole.
func (s *Session) sharedPrograms() (list []request) {
	add := func(yes bool, name string, consts constants) {
		if yes {
			list = append(list, request{name, variant{consts: consts}})
		}
	}
	any := func(f func(*Probe) bool) bool { return slices.ContainsFunc(s.all, f) }
	calls := any(func(p *Probe) bool { return p.Spec.Provider == probes.ProviderSyscall })
	returns := any(func(p *Probe) bool { return p.Spec.Provider == probes.ProviderSyscall && p.Kind != probes.KindEntry })
	add(calls, "syscall_enter", constants{"syscall_returns": flag(returns)})
	add(returns, "syscall_exit", nil)
	add(any((*Probe).HasLatency), "task_ends", nil)
	add(s.opts.Filter, "follow_fork", nil)
	add(s.opts.Filter, "mark_self", nil)
	add(s.opts.Filter, "follow_exec", nil)
	add(s.opts.CPUTime, "switch_cpu", nil)
	return list
}

// resolve makes the list of places.
func (s *Session) resolve(specs []*probes.Spec) error {
	var failed []error
	for _, spec := range specs {
		list, err := newProbes(s.kernel, spec, s.opts.Events != nil)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		s.all = append(s.all, list...)
	}
	if len(failed) > 0 && (len(s.all) == 0 || s.opts.Strict) {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		s.Warn(err)
	}
	if bytes := uint64(s.cpus) * uint64(len(s.all)) * uint64(s.opts.Contexts) * rowSize; bytes > maxRowBytes {
		return fmt.Errorf("%d probes in %d contexts on %d CPUs would take %d MiB; take fewer probes", len(s.all), s.opts.Contexts, s.cpus, bytes>>20)
	}
	labels := map[string]int{}
	for i, p := range s.all {
		p.index = uint32(i)
		label := p.Label()
		if labels[label]++; labels[label] > 1 {
			p.repeat = labels[label]
		}
	}
	return nil
}

// makeObjects compiles the recipes once to know what the session needs, and makes the maps.
func (s *Session) makeObjects() error {
	var used, globs, pairing, strings bool
	for _, p := range s.all {
		r, err := s.recipeOf(p, s.candidates(p)[0])
		if err != nil {
			return err
		}
		used = used || !r.empty()
		globs = globs || r.Globs
		strings = strings || r.Strings > 0
		pairing = pairing || p.Kind == probes.KindLatency
	}
	consts := constants{
		"probes": uint32(len(s.all)), "contexts": s.opts.Contexts, "filtering": flag(s.opts.Filter), "timing_cpu": flag(s.opts.CPUTime),
		"pairing_used": flag(pairing), "recipes_used": flag(used), "strings_used": flag(strings), "globs_used": flag(globs), "kernel_readable": flag(used && kernelReadable()),
		"return_key": uint32(s.returnKey()), "fork_calls": callNumbers("clone", "clone3", "fork", "vfork"),
	}
	if !initialPIDNamespace() {
		namespace, err := ownPIDNamespace()
		if err != nil {
			return err
		}
		consts["pid_namespace"] = namespace
	}
	exec := callNumbers("execve", "execveat")
	consts["exec_calls"] = [2]uint32{exec[0], exec[1]}
	sz := sizes{rows: uint32(s.cpus) * uint32(len(s.all)) * s.opts.Contexts}
	if used {
		sz.recipes, sz.scratches = uint32(len(s.all)), uint32(s.cpus)*scratchesPerCPU
	}
	if e := s.opts.Events; e != nil {
		s.layoutEvents(consts, strings)
		sz.ringBytes = ringBytes(e.RingBytes)
	}
	var err error
	if s.objects, err = newObjects(consts, sz); err != nil {
		return err
	}
	s.stack.push(s.objects.Close)
	if s.control, err = mapControlPage(s.objects.maps[mapControl]); err != nil {
		return err
	}
	s.stack.push(s.control.Close)
	if s.rows, err = mapRowsOf(s.objects.maps[mapRows], s.cpus, len(s.all), int(s.opts.Contexts)); err != nil {
		return err
	}
	s.stack.push(s.rows.Close)
	return nil
}

const scratchesPerCPU = 4 // SCRATCHES of state.h

func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// callNumbers gives numbers + 1 of system calls, 0 for those that the architecture has not.
func callNumbers(names ...string) (numbers [4]uint32) {
	for i, name := range names {
		numbers[i] = uint32(place.SyscallNumber(name) + 1)
	}
	return numbers
}

// returnKey is by how many bytes the stack pointer is higher behind a return than it was at the entry.
func (s *Session) returnKey() int {
	if s.arch == probes.AMD64 {
		return 8 // call pushed the return address
	}
	return 0
}

// recipeOf compiles a probe for one mechanism.
func (s *Session) recipeOf(p *Probe, m Mechanism) (*recipe, error) {
	from := neutral.FromRegisters
	switch m {
	case MechanismFentry:
		from = neutral.FromFunction
	case MechanismTracepoint:
		from = neutral.FromRecord
	case MechanismRawTracepoint:
		from = neutral.FromArguments
	case MechanismSyscall:
		from = neutral.FromSyscall
	}
	return compile(s.kernel, p, from, s.opts.Events != nil)
}

// setRecipe compiles a probe and gives its recipe to the programs.
func (s *Session) setRecipe(p *Probe, m Mechanism) error {
	r, err := s.recipeOf(p, m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.shown[p.index] = r.Shown
	s.mu.Unlock()
	p.tested = r.singleTest()
	if r.empty() {
		return nil
	}
	if err := s.objects.maps[mapRecipes].Put(p.index, r.wire); err != nil {
		return fmt.Errorf("probe %s: give the programs its arguments: %w", p.Name, err)
	}
	return nil
}

// Enable begins to count, everywhere at once.
func (s *Session) Enable() { s.control.set(&s.control.page.Enabled, 1) }

// SetContext names what the traced system is doing now: every aggregate and event carries it. It is a store to memory that
// the kernel shares; no system call.
func (s *Session) SetContext(c uint32) { s.control.set(&s.control.page.Context, c) }

// Probes gives the placed probes.
func (s *Session) Probes() []*Probe {
	var placed []*Probe
	for _, p := range s.all {
		if !p.dropped {
			placed = append(placed, p)
		}
	}
	return placed
}

// Warnings gives what could not be placed.
func (s *Session) Warnings() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.warnings
}

// Warn adds a warning.
func (s *Session) Warn(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnings = append(s.warnings, err)
}

// Detach removes the probes; what they measured can still be read.
func (s *Session) Detach() error {
	s.control.set(&s.control.page.Enabled, 0)
	s.readMisses()
	s.mu.Lock()
	s.detached = true
	s.mu.Unlock()
	return s.stack.closeLinks()
}

// Close removes the probes and gives everything back.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.stack.close()
}

// stack is what has to be closed, last opened first closed. Links are closed side by side: the kernel waits for a grace
// period of RCU at each, and one such wait serves them all.
type stack struct {
	mu     sync.Mutex
	closes []func() error
	links  []func() error
}

func (s *stack) push(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closes = append(s.closes, f)
}

// pushLink adds what may be closed beside others, before everything else.
func (s *stack) pushLink(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = append(s.links, f)
}

// closersAtOnce bounds the threads that wait in the kernel.
const closersAtOnce = 256

// closeLinks removes the probes.
func (s *stack) closeLinks() error {
	s.mu.Lock()
	links := s.links
	s.links = nil
	s.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(closersAtOnce)
	for _, f := range links {
		g.Go(f)
	}
	return g.Wait()
}

func (s *stack) close() error {
	errs := []error{s.closeLinks()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.closes) - 1; i >= 0; i-- {
		errs = append(errs, s.closes[i]())
	}
	s.closes = nil
	return errors.Join(errs...)
}

// rowSize is what one row takes, in bytes.
const rowSize = uint64(unsafe.Sizeof(bpf.TraceRow{}))
