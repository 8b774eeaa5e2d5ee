// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/probes"
)

// Sizes of the sweep.
const (
	shortStep = 20   // the short form enables each so many-th function alone
	batchSize = 1000 // probes at once
)

// TestSweep places a latency probe on every function of the kernel under load: one after the other, then a thousand at once. Each is
// accepted or refused with a documented reason, gives the same answer when it is asked again, and the kernel lives.
func TestSweep(t *testing.T) {
	watchKernel(t)
	random := rand.New(rand.NewPCG(seed(t), 0))
	s := &sweep{t: t, k: text(t), note: notebook(t, "function"), placed: map[uint64]abi.Info{}, refused: map[uint64]*refusal{}}
	var err error
	if s.worker, err = newWorker(t.TempDir(), 1); err != nil {
		t.Fatal(err)
	}
	startLoad(t)
	runBefore(t)
	s.ask()
	if t.Failed() {
		return
	}
	s.report()
	accepted := slices.DeleteFunc(slices.Clone(s.k.functions), func(f probes.Symbol) bool {
		_, ok := s.placed[f.Address]
		return !ok || skipped(f.Name)
	})
	random.Shuffle(len(accepted), func(i, j int) { accepted[i], accepted[j] = accepted[j], accepted[i] })
	alone, together := accepted, accepted
	if stress(t) == 0 {
		// Not the same ones.
		alone, together = accepted[:len(accepted)/shortStep], accepted[max(0, len(accepted)-batchSize):]
	}
	s.alone(alone)
	s.together(together)
	// In the short form the others were only asked; text that changed all the same is seen by watchKernel.
	s.askAgain(slices.Concat(alone, together))
}

// skipped are functions that TRAPLINE_FAULTS_SKIP (with commas) leaves out, to find more than one that kills the kernel.
func skipped(name string) bool {
	return slices.Contains(strings.Split(os.Getenv("TRAPLINE_FAULTS_SKIP"), ","), name)
}

type sweep struct {
	t       *testing.T
	k       *kernelText
	note    func(string)
	worker  *worker
	placed  map[uint64]abi.Info // what the kernel said when it was asked first
	refused map[uint64]*refusal
}

// ask opens a probe of each function, and closes it.
func (s *sweep) ask() {
	began := time.Now()
	for _, f := range s.k.functions {
		p, err := openAt(f.Address, -1)
		if err != nil {
			why, _ := errors.AsType[*refusal](err)
			if !why.documented() {
				s.t.Errorf("%s at %#x: %v, which the header does not have", f.Name, f.Address, err)
			}
			s.refused[f.Address] = why
			continue
		}
		info, err := p.info()
		if err := errors.Join(err, p.close()); err != nil {
			s.t.Errorf("%s: %v", f.Name, err)
		}
		if info.Address != f.Address || info.Function > f.Address || f.Address >= info.Function+info.FunctionSize || info.Enabled != 0 ||
			info.Method < abi.MethodJump || info.Method > abi.MethodSimulate || f.Address < s.k.start || f.Address >= s.k.end {
			s.t.Errorf("%s at %#x: information %+v", f.Name, f.Address, info)
		}
		s.placed[f.Address] = info
	}
	s.t.Logf("%d functions asked in %v", len(s.k.functions), time.Since(began).Round(time.Millisecond))
}

// report counts the answers.
func (s *sweep) report() {
	methods, reasons := map[uint32]int{}, map[string][]string{}
	for _, info := range s.placed {
		methods[info.Method]++
	}
	for _, f := range s.k.functions {
		if why := s.refused[f.Address]; why != nil {
			name := fmt.Sprintf("%s (%s)", reasonName(why.reason), unix.ErrnoName(why.errno))
			reasons[name] = append(reasons[name], f.Name)
		}
	}
	n := len(s.placed)
	s.t.Logf("%d accepted: %d by jump (%.1f %%), %d by ebreak and slot, %d by ebreak and simulation", n,
		methods[abi.MethodJump], 100*float64(methods[abi.MethodJump])/float64(max(n, 1)), methods[abi.MethodSlot], methods[abi.MethodSimulate])
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		some := reasons[name]
		s.t.Logf("%d refused: %s: %s …", len(some), name, strings.Join(some[:min(5, len(some))], ", "))
	}
	// A kernel that refuses everything would survive, too.
	if n < len(s.k.functions)*8/10 {
		s.t.Errorf("only %d of %d functions can be probed", n, len(s.k.functions))
	}
}

// alone enables a probe of one function after the other.
func (s *sweep) alone(functions []probes.Symbol) {
	began := time.Now()
	hit, hits, missed := 0, uint64(0), uint64(0)
	for i, f := range functions {
		s.note(fmt.Sprintf("%d of %d alone: %s", i, len(functions), f.Name))
		p, err := openAt(f.Address, -1)
		if err != nil {
			s.t.Errorf("%s: accepted before, now %v", f.Name, err)
			continue
		}
		err = p.enable()
		burst()
		stats, e := p.stats()
		err = errors.Join(err, e)
		if i%2 == 0 { // else closing it has to do
			err = errors.Join(err, p.disable())
		}
		if err := errors.Join(err, p.close()); err != nil {
			s.t.Errorf("%s: %v", f.Name, err)
		}
		if stats.Started > 0 {
			hit++
		}
		hits += stats.Started
		missed += stats.Missed
		if stats.Count > stats.Started {
			s.t.Errorf("%s: %d calls returned of %d", f.Name, stats.Count, stats.Started)
		}
	}
	s.t.Logf("%d functions one after the other in %v: %d of them were called, %d times, %d missed", len(functions),
		time.Since(began).Round(time.Millisecond), hit, hits, missed)
}

// together enables a thousand at once, until each function was in a batch. Those that find no slot wait for a later one.
func (s *sweep) together(functions []probes.Symbol) {
	for number := 1; len(functions) > 0; number++ {
		began := time.Now()
		placed, rest := s.batch(functions)
		s.t.Logf("batch %d: %d at once in %v", number, placed, time.Since(began).Round(time.Millisecond))
		if placed == 0 {
			s.t.Errorf("%d functions found no slot in a batch of their own", len(rest))
			return
		}
		functions = rest
	}
}

// batch places up to a thousand of the functions, and returns how many and those that are left.
func (s *sweep) batch(functions []probes.Symbol) (placed int, rest []probes.Symbol) {
	var group []probe
	defer func() {
		for _, p := range group {
			if err := p.close(); err != nil {
				s.t.Error(err)
			}
		}
	}()
	for i, f := range functions {
		if len(group) == batchSize {
			rest = append(rest, functions[i:]...)
			break
		}
		leader := -1
		if len(group) > 0 {
			leader = group[0].fd
		}
		p, err := openAt(f.Address, leader)
		switch {
		case err == nil:
			group = append(group, p)
		case errors.Is(err, unix.ENOSPC):
			rest = append(rest, f)
		default:
			s.t.Errorf("%s in a batch: accepted before, now %v", f.Name, err)
		}
	}
	if len(group) == 0 {
		return 0, rest
	}
	s.note(fmt.Sprintf("together: %d functions from %s on", len(group), functions[0].Name))
	began := time.Now()
	err := group[0].control(abi.IocEnable, abi.WholeGroup)
	enabled := time.Since(began)
	// All that the load does, by this process itself: it may be the only one that gets a turn.
	err = errors.Join(err, s.worker.round())
	hit, missed := 0, uint64(0)
	for _, p := range group {
		stats, e := p.stats()
		err = errors.Join(err, e)
		if stats.Started > 0 {
			hit++
		}
		missed += stats.Missed
	}
	began = time.Now()
	if err := errors.Join(err, group[0].control(abi.IocDisable, abi.WholeGroup)); err != nil {
		s.t.Errorf("a batch: %v", err)
	}
	s.t.Logf("enabled in %v, disabled in %v; %d were called, %d hits missed", enabled.Round(10*time.Microsecond),
		time.Since(began).Round(10*time.Microsecond), hit, missed)
	return len(group), rest
}

// askAgain opens probes once more: the answer is the same, and so is the instruction.
func (s *sweep) askAgain(functions []probes.Symbol) {
	s.note("asking again")
	wrong := 0
	for _, f := range functions {
		if err := s.sameAnswer(f.Address); err != nil {
			s.t.Errorf("%s: %v", f.Name, err)
			if wrong++; wrong == 20 {
				return
			}
		}
	}
}

func (s *sweep) sameAnswer(address uint64) error {
	was, accepted := s.placed[address]
	p, err := openAt(address, -1)
	if why, refused := errors.AsType[*refusal](err); refused {
		if accepted || why.reason != s.refused[address].reason {
			return fmt.Errorf("%w; before it was accepted (%v) or refused with %v", why, accepted, s.refused[address])
		}
		return nil
	}
	info, err := p.info()
	if err := errors.Join(err, p.close()); err != nil {
		return err
	}
	if !accepted || info.Instruction != was.Instruction || info.Method != was.Method {
		return fmt.Errorf("instruction %#x, method %d; before it was %#x, %d", info.Instruction, info.Method, was.Instruction, was.Method)
	}
	return nil
}
