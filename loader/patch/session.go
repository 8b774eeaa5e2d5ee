// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// Options say what a session measures beyond counts and latencies. The zero value is a table of all tasks.
type Options struct {
	Contexts uint32        // contexts told apart, from 0 on; the last one takes all above. 0 means 1; at most 1024
	Filter   bool          // only tasks named by Follow and Launch, and what they start
	CPUTime  bool          // also time on CPU
	Events   *EventOptions // send single events too; nil for none. It makes a bare kernel function an entry, not a latency probe
	Strict   bool          // a place that can't be probed fails Open, also one out of many
	Only     Method        // for tests and calibration: place by this method alone
	Like     *Session      // what this one has read of the kernel is not read again; may be nil
	Log      *slog.Logger  // nil is silent
}

// EventOptions say what an event carries besides arguments and return value.
type EventOptions struct {
	Registers bool
	Stack     bool // of the kernel
	RingBytes int  // what can wait to be read; 0 means 1 MiB
}

const (
	defaultRing = 1 << 20 // for kernels with little memory
	maxRing     = 64 << 20
)

// A Session is a set of placed probes. Its methods may be called from any goroutine; Close ends all others.
type Session struct {
	opts      Options
	kernel    *place.Kernel
	all       []*Probe // by cookie; some could not be placed
	group     int      // descriptor of the group's first probe
	page      atomic.Pointer[abi.Page]
	memory    []byte // the page's
	ring      *ring  // nil without events
	ringBytes int

	reading sync.Mutex // held by Events

	mu       sync.Mutex
	warnings []error
	failed   error  // of Enable
	buffer   []byte // for readings
	closed   atomic.Bool
}

// Open resolves the expressions and opens the probes, which begin to count at [Session.Enable]. A place of a glob, or one
// expression out of several, that can't be probed is a warning (see [Session.Warnings]), unless Strict is set; if nothing
// at all could be placed it is an error. Errors wrap [ErrNotSupported], [probes.ErrNoSymbol] or [unix.EPERM].
func Open(ctx context.Context, specs []*probes.Spec, opts *Options) (*Session, error) {
	s := &Session{}
	if err := s.open(ctx, specs, opts); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Session) open(ctx context.Context, specs []*probes.Spec, opts *Options) error {
	s.kernel, s.group = place.NewKernel(), -1
	s.page.Store(&abi.Page{}) // until there is one
	if opts != nil {
		s.opts = *opts
	}
	if like := s.opts.Like; like != nil {
		s.kernel, s.opts.Like = like.kernel, nil
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	s.opts.Contexts = max(s.opts.Contexts, 1)
	if s.opts.Contexts > abi.ContextsMax {
		return fmt.Errorf("%d contexts: backend patch tells %d apart at most", s.opts.Contexts, abi.ContextsMax)
	}
	if e := s.opts.Events; e != nil {
		s.ringBytes = ringBytes(e.RingBytes)
	}
	if err := Usable(); err != nil {
		return err
	}
	if err := s.resolve(specs); err != nil {
		return err
	}
	if err := s.place(ctx); err != nil {
		return err
	}
	return s.share()
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
	labels := map[string]int{}
	for _, p := range s.all {
		label := p.Label()
		if labels[label]++; labels[label] > 1 {
			p.repeat = labels[label]
		}
	}
	return nil
}

// place opens the probes, the first one as the head of the group.
func (s *Session) place(ctx context.Context) error {
	var failed []error
	placed := false
	for i, p := range s.all {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.openProbe(uint64(i), p)
		if err == nil {
			placed = true
			continue
		}
		if _, wrong := errors.AsType[*probes.ParseError](err); wrong {
			return err // an argument that can't be read is wrong everywhere
		}
		if e, ok := errors.AsType[*place.Error](err); ok {
			p.err = e
		} else {
			p.err = s.explain(p, err)
		}
		s.opts.Log.Debug("not placed", "probe", p.Name, "why", p.err)
		// What nothing may probe is no surprise in a glob.
		if !p.Spec.Glob() || !expected(err) {
			failed = append(failed, p.err)
		}
	}
	if !placed && len(failed) == 0 && len(s.all) > 0 {
		failed = append(failed, s.all[0].err)
	}
	if len(failed) > 0 && (s.opts.Strict || !placed) {
		return place.JoinFew(failed)
	}
	for _, err := range failed {
		s.Warn(err)
	}
	return nil
}

// openProbe opens one probe. Errors of the kernel are a [refusal].
func (s *Session) openProbe(cookie uint64, p *Probe) error {
	r, err := s.compile(p)
	if err != nil {
		return err
	}
	r.attr.Cookie, r.attr.GroupFD = cookie, int32(s.group)
	fd, err := r.open()
	if err != nil {
		return err
	}
	i, err := info(fd)
	if err == nil && s.opts.Only != 0 && Method(i.Method) != s.opts.Only {
		err = fmt.Errorf("it is placed as %s, not %s: %w", Method(i.Method), s.opts.Only, ErrNotSupported)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	p.fd, p.info, p.Method = fd, *i, Method(i.Method)
	if s.group < 0 {
		s.group = fd
	}
	return nil
}

// share maps what the group shares with this process.
func (s *Session) share() (err error) {
	s.memory, err = unix.Mmap(s.group, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("patch: map the page of the context: %w", err)
	}
	s.page.Store((*abi.Page)(unsafe.Pointer(&s.memory[0])))
	if s.opts.Events != nil {
		if s.ring, err = openRing(s.group, s.ringBytes); err != nil {
			return err
		}
	}
	return nil
}

// ringBytes is the size of a ring's area of events: a power of two, and whole pages.
func ringBytes(want int) int {
	if want <= 0 {
		want = defaultRing
	}
	return 1 << bits.Len(uint(min(max(want, pageSize), maxRing)-1))
}

// Enable begins to count, everywhere at once. If a probe can't be placed any more, as something else has come there since, it
// is left out with a warning.
func (s *Session) Enable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() || s.group < 0 {
		return
	}
	if control(s.group, abi.IocEnable, abi.WholeGroup) == nil {
		return
	}
	// One place that fails fails them all: each by itself then.
	for _, p := range s.all {
		if p.fd < 0 {
			continue
		}
		if err := control(p.fd, abi.IocEnable, 0); err != nil {
			err = &place.Error{Place: p.Name, Err: fmt.Errorf("it could be opened, but not enabled: %w", err)}
			s.warnings = append(s.warnings, err)
			s.failed = errors.Join(s.failed, err)
		}
	}
}

// SetContext names what the traced system is doing now: every row and event carries it. It is a store to memory that the kernel
// shares; no system call.
func (s *Session) SetContext(c uint32) { atomic.StoreUint32(&s.page.Load().Context, c) }

// Probes gives the placed probes.
func (s *Session) Probes() []*Probe {
	var placed []*Probe
	for _, p := range s.all {
		if p.err == nil {
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

// SharedMissed is 0: each probe knows its own losses.
func (s *Session) SharedMissed() (missed uint64, among int) { return 0, 0 }

// Unfollowed is 0: the patch keeps the mark in the task itself.
func (s *Session) Unfollowed() uint64 { return 0 }

// Detach removes the probes, all by one change of the kernel's text; what they measured can still be read. Its error has also
// what could not be enabled.
func (s *Session) Detach() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() || s.group < 0 {
		return nil
	}
	err := s.failed
	s.failed = nil
	if e := control(s.group, abi.IocDisable, abi.WholeGroup); e != nil {
		err = errors.Join(err, fmt.Errorf("patch: remove the probes: %w", e))
	}
	return err
}

// Close removes the probes and gives everything back.
func (s *Session) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.reading.Lock() // Events sees closed, and ends
	defer s.reading.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.group >= 0 { // one change of the text, where each descriptor would make one of its own
		if err := control(s.group, abi.IocDisable, abi.WholeGroup); err != nil {
			errs = append(errs, fmt.Errorf("patch: remove the probes: %w", err))
		}
	}
	s.page.Store(&abi.Page{})
	if s.memory != nil {
		errs = append(errs, unix.Munmap(s.memory))
	}
	errs = append(errs, s.ring.close())
	for _, p := range s.all {
		if p.fd >= 0 {
			errs = append(errs, os.NewSyscallError("close", unix.Close(p.fd)))
			p.fd = -1
		}
	}
	return errors.Join(errs...)
}

// Try opens the probes of an expression and closes them again. It gives those that could be placed and those that could not,
// each with its error (see [Probe.Err]); its own error is about the expression as a whole.
func Try(ctx context.Context, spec *probes.Spec) (placed, failed []*Probe, err error) {
	s := &Session{}
	if err := s.open(ctx, []*probes.Spec{spec}, nil); err != nil {
		if _, wrong := errors.AsType[*probes.ParseError](err); wrong || len(s.all) == 0 {
			return nil, nil, errors.Join(err, s.Close())
		}
	}
	err = s.Close()
	for _, p := range s.all {
		if p.err == nil {
			placed = append(placed, p)
		} else {
			failed = append(failed, p)
		}
	}
	return placed, failed, err
}
