// SPDX-License-Identifier: Apache-2.0

package probes

// checkBase refuses a value that the place does not have.
func (p *parser) checkBase(f *Fetch) error {
	s := p.spec
	tracepoint := s.Provider == ProviderTracepoint || s.Provider == ProviderRawTracepoint
	switch f.Base {
	case BaseArg:
		switch {
		case s.Provider == ProviderTracepoint:
			return p.fail(f.Pos, "a tracepoint has fields, not parameters", "name a field: $FIELD")
		case s.Kind == KindReturn && s.Provider != ProviderFentry:
			return p.fail(f.Pos, "the parameters are gone when the function returns", "use %latency, which reads them at the entry")
		case s.Provider == ProviderSyscall && f.Index > 5:
			return p.fail(f.Pos, "a system call has at most 6 parameters", "the last is %a5")
		}
	case BaseField:
		switch {
		case s.Provider != ProviderTracepoint && s.Provider != ProviderSyscall:
			return p.fail(f.Pos, "only tracepoints and system calls have fields with names", "write parameters as %a0, %a1 …")
		case s.Kind == KindReturn:
			return p.fail(f.Pos, "the parameters are gone when the system call returns", "use %latency, which reads them at the entry")
		}
	case BaseRegister, BaseStack, BaseStackAddr:
		switch {
		case tracepoint:
			return p.fail(f.Pos, "a tracepoint has no registers", "")
		case s.Provider == ProviderSyscall:
			return p.fail(f.Pos, "a system call's registers can't be read", "write its parameters as %a0 … %a5 or by name")
		case s.Provider == ProviderFentry:
			return p.fail(f.Pos, "fentry and fexit have no registers", "use kprobe: or kretprobe:, or the parameters %a0 …")
		}
	case BaseRetval, BaseLatency:
		switch {
		case tracepoint && f.Base == BaseRetval:
			return p.fail(f.Pos, "a tracepoint has no return", "if it has a field of that name, write args.retval")
		case tracepoint:
			return p.fail(f.Pos, "a tracepoint has no return", "functions and system calls have one: %latency")
		case s.Kind == KindEntry:
			return p.fail(f.Pos, "there is no such value at the entry", "use %return or %latency")
		case s.Kind == KindReturn && f.Base == BaseLatency:
			return p.fail(f.Pos, "a probe of the return alone does not know when the call began", "use %latency")
		}
	case BaseAddress:
		if s.Provider == ProviderUprobe {
			return p.fail(f.Pos, "@ reads the kernel's memory, not the program's", "")
		}
	}
	return nil
}
