// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// A refusal is what probe_open says of a probe that it does not open.
type refusal struct {
	errno   unix.Errno
	reason  abi.Reason
	address uint64 // what the instruction or the text's range begins at; 0 without a reason
}

func (r *refusal) Error() string {
	if text := reasonTexts[r.reason]; text != "" {
		return text
	}
	if text := errnoTexts[r.errno]; text != "" {
		return text
	}
	return fmt.Sprintf("probe_open: %v", r.errno)
}

// Unwrap gives the error number, and what callers tell errors apart by.
func (r *refusal) Unwrap() []error {
	list := []error{r.errno}
	switch r.errno {
	case unix.ENOSYS, unix.EOPNOTSUPP:
		list = append(list, ErrNotSupported)
	case unix.ENOENT:
		list = append(list, probes.ErrNoSymbol)
	}
	return list
}

// reasonTexts say why the kernel refuses, as the end of "probe PLACE: ".
var reasonTexts = map[abi.Reason]string{
	abi.ReasonEntryText:   "it is part of the trap and entry path, which every probe runs through",
	abi.ReasonEngine:      "it belongs to the probes themselves",
	abi.ReasonNoinstr:     "it is marked noinstr: it runs where the kernel is not yet, or no longer, ready for a probe",
	abi.ReasonKprobesText: "it is marked nokprobe: the kernel needs it to handle probes",
	abi.ReasonInitText:    "it was code of the kernel's start, and is gone",
	abi.ReasonPatching:    "it runs while the kernel's text is changed",
	abi.ReasonLRSC:        "it lies between a load-reserved instruction and its store-conditional, which never succeeds if something comes between them",
	abi.ReasonExtable:     "the instruction has an entry in the kernel's exception table, by its address",
	abi.ReasonJumpLabel:   "the instruction is a jump label, which the kernel itself changes",
	abi.ReasonNotText:     "no function of the kernel lies there",
	abi.ReasonBoundary:    "no instruction begins there",
	abi.ReasonInstruction: "the instruction can neither run away from its place nor be simulated",
	abi.ReasonKprobe:      "a kprobe is there",
	abi.ReasonSlots:       "all slots within reach of it are taken; take fewer probes",
	abi.ReasonLockdown:    "the kernel is locked down, which forbids probes of its functions (kernel_lockdown(7))",
	abi.ReasonStack:       "this kernel does not record call chains (CONFIG_FRAME_POINTER); leave out the stack",
	abi.ReasonNoReturn:    "what enters it does not come back by its return address: it has no return that can be probed",
}

// errnoTexts say what an error number means that comes without a reason.
var errnoTexts = map[unix.Errno]string{
	unix.ENOSYS:        "this kernel does not have Trapline's patch (see docs/kernel-patch.md)",
	unix.EPERM:         "no right to probe the kernel; run as root, or with CAP_PERFMON",
	unix.ENOENT:        "no function of the kernel has that name",
	unix.EADDRNOTAVAIL: "several functions have that name, and their addresses are hidden: run as root, with kernel.kptr_restrict below 2",
	unix.ERANGE:        "the offset lies behind the end of the function",
	unix.EILSEQ:        "no instruction begins there",
	unix.EACCES:        "it must not be probed",
	unix.EOPNOTSUPP:    "this kernel can't do what the probe asks for",
	unix.EBUSY:         "a kprobe is there",
	unix.ENOSPC:        "no slot is free within reach of it; take fewer probes",
	unix.EUSERS:        "64 sessions that follow tasks are open already; end one, or trace all tasks",
	unix.E2BIG:         "the kernel's patch is older than this program, and does not know what the probe asks for",
	unix.ENOMEM:        "no memory for it; take fewer probes or contexts",
	unix.EMFILE:        "no descriptor is free in this process; raise its limit (ulimit -n) or take fewer probes",
	unix.ENFILE:        "no descriptor is free in this system; take fewer probes",
}

// expected says whether it surprises nobody that a glob leaves the function out: it is text that no means may probe.
func expected(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return false
	}
	switch r.reason {
	case abi.ReasonEntryText, abi.ReasonEngine, abi.ReasonNoinstr, abi.ReasonKprobesText, abi.ReasonInitText, abi.ReasonPatching:
		return true
	}
	return false
}

// explain makes the error of a probe that the kernel refused: why, and what comes nearest.
func (s *Session) explain(p *Probe, err error) *place.Error {
	e := &place.Error{Place: p.Name, Err: err}
	r, _ := errors.AsType[*refusal](err)
	if r == nil {
		e.Instead = s.instead(p, err)
		return e
	}
	function, offset := s.function(p)
	switch r.reason {
	case abi.ReasonBoundary:
		// Instructions have 2 or 4 bytes: the one around an even address begins 2 bytes before it.
		if function != "" && offset >= 2 && offset%2 == 0 {
			at := plus(function, offset-2)
			e.Err = fmt.Errorf("%w: one begins at %s", err, at)
			e.Instead = []string{at}
			if offset == 2 {
				e.Instead = []string{at + "%entry"}
			}
		}
	case abi.ReasonNoReturn:
		if function != "" {
			e.Instead = []string{p.Name + "%entry"}
		}
	case abi.ReasonLRSC, abi.ReasonExtable, abi.ReasonJumpLabel, abi.ReasonInstruction:
		if offset != 0 && function != "" {
			e.Instead = []string{function + "%entry"}
		}
	case abi.ReasonLockdown, abi.ReasonStack, abi.ReasonSlots, abi.ReasonKprobe:
		return e
	}
	if r.errno == unix.EPERM || r.errno == unix.ENOSYS {
		return e
	}
	if r.errno == unix.EINVAL && p.Kind != probes.KindEntry && offset != 0 {
		e.Err = fmt.Errorf("only the begin of a function has a return: %w", err)
		e.Instead = []string{p.Name + "%entry"}
	}
	if e.Instead == nil {
		e.Instead = s.instead(p, err)
	}
	return e
}

// function gives the function that a place lies in, and how far behind its start; "" if that is not known.
func (s *Session) function(p *Probe) (name string, offset uint64) {
	symbols, err := s.kernel.Symbols()
	if err != nil || p.address() == 0 {
		return "", 0
	}
	f, offset, ok := symbols.At(p.address())
	if !ok || !f.Function() {
		return "", 0
	}
	return f.Name, offset
}

// instead gives the system calls close to a function that this kernel serves by functions of their own.
func (s *Session) instead(p *Probe, err error) (list []string) {
	symbols, e := s.kernel.Symbols()
	if e != nil {
		return nil
	}
	for _, expression := range s.kernel.Instead(p.Spec, err) {
		if call, ok := cutSyscall(expression); ok {
			if f, _, err := callFunction(symbols, call); err != nil || f.Name == p.symbol().Name {
				continue
			}
		}
		list = append(list, expression)
	}
	return list
}

func plus(name string, offset uint64) string {
	if offset == 0 {
		return name
	}
	return fmt.Sprintf("%s+%#x", name, offset)
}
