// SPDX-License-Identifier: Apache-2.0

package procfs

import "bytes"

// Bits of [Stat.Flags], PF_* of the kernel's include/linux/sched.h.
const (
	PFExiting    = 0x00000004 // is exiting
	PFForkNoExec = 0x00000040 // forked but has not called exec
	PFSignaled   = 0x00000400 // was killed by a signal
	PFKthread    = 0x00200000 // is a kernel thread
)

// Stat is /proc/PID/stat. Of a thread the sums (faults, times) are the thread's own, of a process those of all its
// threads.
type Stat struct {
	Pid     int
	Comm    string // as it is: may hold parentheses, blanks and newlines
	State   byte   // as [Status.State]
	PPid    int
	Pgrp    int
	Session int
	TTYNr   uint32 // device number of the controlling terminal, 0 for none
	Tpgid   int    // foreground process group of that terminal, -1 for none
	Flags   uint32 // PF…

	MinFlt, CMinFlt, MajFlt, CMajFlt uint64
	// Times in clock ticks of 10 ms (sysconf(_SC_CLK_TCK), 100 on every Linux).
	UTime, STime   uint64
	CUTime, CSTime int64

	Priority   int64
	Nice       int
	NumThreads int
	StartTime  uint64 // clock ticks after boot; with the pid it names a process for good
	VSize      uint64 // bytes
	RSS        int64  // pages
	RSSLim     uint64 // bytes

	// Addresses read 0 (StartCode, EndCode: 1) without the right to ptrace the process.
	StartCode, EndCode, StartStack, KstkESP, KstkEIP uint64

	ExitSignal int // sent to the parent at exit; -1 for a thread that is not the first
	Processor  int // CPU it ran on last
	RTPriority uint32
	Policy     uint32 // SCHED_…
	BlkioTicks uint64
	GuestTime  uint64
	CGuestTime int64

	StartData, EndData, StartBrk       uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd uint64
	ExitCode                           int // wait status of a zombie
}

// Stat reads /proc/PID/stat.
func (p *Proc) Stat() (*Stat, error) {
	s := new(Stat)
	return s, p.ReadStat(s)
}

// ReadStat is [Proc.Stat] into an existing value.
func (p *Proc) ReadStat(s *Stat) error {
	return p.text("stat", s.parse)
}

func (s *Stat) parse(text []byte) error {
	*s = Stat{}
	// The name is the only text that the task chooses: it ends at the last parenthesis.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return bad("stat", text)
	}
	var ok bool
	if s.Pid, ok = parseID(trim(text[:open])); !ok {
		return bad("stat: pid", text)
	}
	s.Comm = string(text[open+1 : end])
	rest := bytes.TrimRight(text[end+1:], "\n")

	state, rest := cutField(rest)
	if len(state) != 1 {
		return bad("stat: state", text)
	}
	s.State = state[0]

	// The fields 4 to 52 of proc(5), in their order. Signed and unsigned numbers are both read as 64 bits.
	var f [52 - 4 + 1]uint64
	n := 0
	for n < len(f) {
		var b []byte
		b, rest = cutField(rest)
		if len(b) == 0 {
			break
		}
		if b[0] == '-' {
			var v int64
			v, ok = parseInt(b)
			f[n] = uint64(v)
		} else {
			f[n], ok = parseUint(b, 10)
		}
		if !ok {
			return bad("stat: a field", b)
		}
		n++
	}
	if n < len(f) {
		return bad("stat: too few fields", text)
	}
	at := func(field int) uint64 { return f[field-4] }
	num := func(field int) int { return int(int64(f[field-4])) }

	s.PPid, s.Pgrp, s.Session = num(4), num(5), num(6)
	// tty_nr is printed as a signed int.
	s.TTYNr, s.Tpgid, s.Flags = uint32(at(7)), num(8), uint32(at(9))
	s.MinFlt, s.CMinFlt, s.MajFlt, s.CMajFlt = at(10), at(11), at(12), at(13)
	s.UTime, s.STime, s.CUTime, s.CSTime = at(14), at(15), int64(at(16)), int64(at(17))
	s.Priority, s.Nice, s.NumThreads = int64(at(18)), num(19), num(20)
	s.StartTime, s.VSize, s.RSS, s.RSSLim = at(22), at(23), int64(at(24)), at(25)
	s.StartCode, s.EndCode, s.StartStack, s.KstkESP, s.KstkEIP = at(26), at(27), at(28), at(29), at(30)
	s.ExitSignal, s.Processor = num(38), num(39)
	s.RTPriority, s.Policy, s.BlkioTicks = uint32(at(40)), uint32(at(41)), at(42)
	s.GuestTime, s.CGuestTime = at(43), int64(at(44))
	s.StartData, s.EndData, s.StartBrk = at(45), at(46), at(47)
	s.ArgStart, s.ArgEnd, s.EnvStart, s.EnvEnd = at(48), at(49), at(50), at(51)
	s.ExitCode = num(52)
	return nil
}
