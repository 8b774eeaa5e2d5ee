// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"math/bits"
)

// Status is /proc/PID/status. Fields that the kernel does not print (memory of a zombie, features that are not
// configured) are zero.
type Status struct {
	Name     string // comm, with the escapes of status undone
	State    byte   // R running, S sleeping, D uninterruptible, T stopped, t tracing stop, Z zombie, X dead, I idle
	Umask    uint32
	HasUmask bool // false for tasks without a filesystem context: zombies
	Tgid     int
	Pid      int // the thread's own number
	PPid     int
	// TracerPid is the ptracer's pid, 0 without one.
	TracerPid int
	Uid       [4]uint32 // real, effective, saved, filesystem
	Gid       [4]uint32
	Groups    []uint32
	// NStgid … NSsid hold the ids in every PID namespace from the one /proc was mounted in to the task's own,
	// which is the last.
	NStgid, NSpid, NSpgid, NSsid []int
	// Kthread: printed since Linux 6.8; before that use [Stat.Flags] & [PFKthread].
	Kthread bool
	FDSize  int

	// Sizes in bytes.
	VmPeak, VmSize, VmLck, VmPin, VmHWM, VmRSS, RssAnon, RssFile, RssShmem uint64
	VmData, VmStk, VmExe, VmLib, VmPTE, VmSwap, HugetlbPages               uint64
	HasMM                                                                  bool // the Vm lines were there

	CoreDumping bool
	// THPEnabled is false after prctl(PR_SET_THP_DISABLE). Meaningless without HasMM.
	THPEnabled bool
	UntagMask  uint64 // x86 LAM, since Linux 6.4
	Threads    int

	// Signals: bit N-1 is signal N. SigPnd is the thread's, ShdPnd the process' queue.
	SigQ, SigQMax                          uint64
	SigPnd, ShdPnd, SigBlk, SigIgn, SigCgt uint64

	CapInh, CapPrm, CapEff, CapBnd, CapAmb uint64

	NoNewPrivs bool
	// Seccomp: 0 none, 1 strict, 2 filter.
	Seccomp        int
	SeccompFilters int
	// X86ShadowStack: "x86_Thread_features" has shstk (Linux 6.6).
	X86ShadowStack bool

	CPUsAllowed []uint64 // bit N of word N/64 is CPU N; no trailing zero words

	VoluntarySwitches, InvoluntarySwitches uint64
}

// Status reads /proc/PID/status.
func (p *Proc) Status() (*Status, error) {
	s := new(Status)
	return s, p.ReadStatus(s)
}

// ReadStatus is [Proc.Status] into an existing value, whose slices are reused.
func (p *Proc) ReadStatus(s *Status) error {
	return p.text("status", s.parse)
}

func (s *Status) parse(text []byte) error {
	*s = Status{
		Groups: s.Groups[:0], NStgid: s.NStgid[:0], NSpid: s.NSpid[:0], NSpgid: s.NSpgid[:0], NSsid: s.NSsid[:0],
		CPUsAllowed: s.CPUsAllowed[:0],
	}
	var seen bool
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		key, v, ok := cutKey(line)
		if !ok {
			continue
		}
		ok = true
		switch string(key) {
		case "Name":
			// Not trimmed: a name may begin or end in spaces.
			s.Name = unescapeName(line[len("Name:"):])
		case "Umask":
			var m uint64
			m, ok = parseUint(v, 8)
			s.Umask, s.HasUmask = uint32(m), true
		case "State":
			if ok = len(v) > 0; ok {
				s.State = v[0]
			}
		case "Tgid":
			s.Tgid, ok = parseID(v)
		case "Pid":
			s.Pid, ok = parseID(v)
			seen = true
		case "PPid":
			s.PPid, ok = parseID(v)
		case "TracerPid":
			s.TracerPid, ok = parseID(v)
		case "FDSize":
			s.FDSize, ok = parseID(v)
		case "Uid":
			ok = parseQuad(v, &s.Uid)
		case "Gid":
			ok = parseQuad(v, &s.Gid)
		case "Groups":
			for ok && len(v) > 0 {
				var f []byte
				f, v = cutField(v)
				var g uint64
				g, ok = parseUint(f, 10)
				s.Groups = append(s.Groups, uint32(g))
			}
		case "NStgid":
			s.NStgid, ok = parseIDs(s.NStgid, v)
		case "NSpid":
			s.NSpid, ok = parseIDs(s.NSpid, v)
		case "NSpgid":
			s.NSpgid, ok = parseIDs(s.NSpgid, v)
		case "NSsid":
			s.NSsid, ok = parseIDs(s.NSsid, v)
		case "Kthread":
			s.Kthread = string(v) == "1"
		case "CoreDumping":
			s.CoreDumping = string(v) == "1"
		case "THP_enabled":
			s.THPEnabled = string(v) == "1"
		case "untag_mask":
			s.UntagMask, ok = parseHex(v)
		case "Threads":
			s.Threads, ok = parseID(v)
		case "SigQ":
			n := 0
			s.SigQ, n = leadingUint(v, 10)
			if ok = n > 0 && n < len(v) && v[n] == '/'; ok {
				s.SigQMax, ok = parseUint(v[n+1:], 10)
			}
		case "NoNewPrivs":
			s.NoNewPrivs = string(v) == "1"
		case "Seccomp":
			s.Seccomp, ok = parseID(v)
		case "Seccomp_filters":
			s.SeccompFilters, ok = parseID(v)
		case "x86_Thread_features":
			for len(v) > 0 {
				var f []byte
				f, v = cutField(v)
				s.X86ShadowStack = s.X86ShadowStack || string(f) == "shstk"
			}
		case "Cpus_allowed":
			s.CPUsAllowed, ok = parseMask(s.CPUsAllowed, v)
		case "voluntary_ctxt_switches":
			s.VoluntarySwitches, ok = parseUint(v, 10)
		case "nonvoluntary_ctxt_switches":
			s.InvoluntarySwitches, ok = parseUint(v, 10)
		default:
			if f := s.hexField(string(key)); f != nil {
				*f, ok = parseUint(v, 16)
			} else if f := s.sizeField(string(key)); f != nil {
				*f, ok = parseKB(v)
				s.HasMM = true
			}
		}
		if !ok {
			return bad("status", line)
		}
	}
	if !seen {
		return bad("status: no Pid line", nil)
	}
	return nil
}

// hexField is the field of a line that holds a 64-bit mask.
func (s *Status) hexField(key string) *uint64 {
	switch key {
	case "SigPnd":
		return &s.SigPnd
	case "ShdPnd":
		return &s.ShdPnd
	case "SigBlk":
		return &s.SigBlk
	case "SigIgn":
		return &s.SigIgn
	case "SigCgt":
		return &s.SigCgt
	case "CapInh":
		return &s.CapInh
	case "CapPrm":
		return &s.CapPrm
	case "CapEff":
		return &s.CapEff
	case "CapBnd":
		return &s.CapBnd
	case "CapAmb":
		return &s.CapAmb
	}
	return nil
}

// sizeField is the field of a line that holds a size in kB.
func (s *Status) sizeField(key string) *uint64 {
	switch key {
	case "VmPeak":
		return &s.VmPeak
	case "VmSize":
		return &s.VmSize
	case "VmLck":
		return &s.VmLck
	case "VmPin":
		return &s.VmPin
	case "VmHWM":
		return &s.VmHWM
	case "VmRSS":
		return &s.VmRSS
	case "RssAnon":
		return &s.RssAnon
	case "RssFile":
		return &s.RssFile
	case "RssShmem":
		return &s.RssShmem
	case "VmData":
		return &s.VmData
	case "VmStk":
		return &s.VmStk
	case "VmExe":
		return &s.VmExe
	case "VmLib":
		return &s.VmLib
	case "VmPTE":
		return &s.VmPTE
	case "VmSwap":
		return &s.VmSwap
	case "HugetlbPages":
		return &s.HugetlbPages
	}
	return nil
}

// unescapeName undoes what status does to a name: \n and \\ for a newline and a backslash. The tab after the colon is
// not part of it.
func unescapeName(b []byte) string {
	if len(b) > 0 && b[0] == '\t' {
		b = b[1:]
	}
	name := make([]byte, 0, 16)
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			switch b[i+1] {
			case 'n':
				name = append(name, '\n')
				i++
				continue
			case '\\':
				name = append(name, '\\')
				i++
				continue
			}
		}
		name = append(name, b[i])
	}
	return string(name)
}

// parseID parses a number that fits into an int of any machine.
func parseID(b []byte) (int, bool) {
	v, ok := parseInt(b)
	return int(int32(v)), ok && v == int64(int32(v))
}

// parseIDs appends the numbers of a line.
func parseIDs(ids []int, b []byte) ([]int, bool) {
	for {
		var f []byte
		f, b = cutField(b)
		if len(f) == 0 {
			return ids, true
		}
		id, ok := parseID(f)
		if !ok {
			return ids, false
		}
		ids = append(ids, id)
	}
}

func parseQuad(b []byte, quad *[4]uint32) bool {
	for i := range quad {
		var f []byte
		f, b = cutField(b)
		v, ok := parseUint(f, 10)
		if !ok || v > 1<<32-1 {
			return false
		}
		quad[i] = uint32(v)
	}
	return true
}

// parseKB parses "123 kB" into bytes.
func parseKB(b []byte) (uint64, bool) {
	f, rest := cutField(b)
	v, ok := parseUint(f, 10)
	if !ok || string(trim(rest)) != "kB" {
		return 0, false
	}
	hi, lo := bits.Mul64(v, 1024)
	return lo, hi == 0
}

// parseMask parses the kernel's bitmaps: groups of 32 bits in hexadecimal, the highest first, with commas between.
func parseMask(words []uint64, b []byte) ([]uint64, bool) {
	words = words[:0]
	for group := 0; len(b) > 0; group++ {
		i := len(b) - 1
		for i >= 0 && b[i] != ',' {
			i--
		}
		v, ok := parseUint(b[i+1:], 16)
		if !ok || v > 1<<32-1 {
			return words, false
		}
		if group%2 == 0 {
			words = append(words, v)
		} else {
			words[len(words)-1] |= v << 32
		}
		b = b[:max(i, 0)]
	}
	for len(words) > 0 && words[len(words)-1] == 0 {
		words = words[:len(words)-1]
	}
	return words, true
}
