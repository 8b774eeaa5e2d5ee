// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Comm reads the name of the task as it is, without the newline that the file ends in.
func (p *Proc) Comm() (string, error) {
	var comm string
	err := p.text("comm", func(b []byte) error {
		comm = string(trimNewline(b))
		return nil
	})
	return comm, err
}

// Cmdline reads the arguments, each ended by a NUL as a rule: the memory between arg_start and arg_end, which the
// process may have overwritten. Empty for zombies and kernel threads.
func (p *Proc) Cmdline() ([]byte, error) { return p.bytes("cmdline") }

// Environ reads the memory between env_start and env_end.
func (p *Proc) Environ() ([]byte, error) { return p.bytes("environ") }

// Auxv reads the auxiliary vector as it is: pairs of machine words, the last of type AT_NULL.
func (p *Proc) Auxv() ([]byte, error) { return p.bytes("auxv") }

// AuxvWords splits an auxiliary vector of 64-bit words, for images and comparisons; a rest below 8 bytes is dropped.
func AuxvWords(auxv []byte) []uint64 {
	words := make([]uint64, 0, len(auxv)/8)
	for ; len(auxv) >= 8; auxv = auxv[8:] {
		words = append(words, binary.NativeEndian.Uint64(auxv))
	}
	return words
}

// Personality reads the execution domain as personality(2) takes it.
func (p *Proc) Personality() (uint32, error) {
	v, err := p.number("personality", 16)
	return uint32(v), err
}

// OOMScoreAdj reads the adjustment of the OOM killer's score, -1000 to 1000.
func (p *Proc) OOMScoreAdj() (int, error) {
	var adj int
	err := p.text("oom_score_adj", func(b []byte) (err error) {
		adj, err = parseNumberLine(b)
		return err
	})
	return adj, err
}

// CoredumpFilter reads the mask of the kinds of mappings that go into a core dump. [ErrNoMM] for a task without memory.
func (p *Proc) CoredumpFilter() (uint32, error) {
	var mask uint64
	err := p.text("coredump_filter", func(b []byte) error {
		var ok bool
		if mask, ok = parseUint(trimNewline(b), 16); !ok && len(b) > 0 {
			return bad("coredump_filter", b)
		}
		if len(b) == 0 {
			return ErrNoMM
		}
		return nil
	})
	return uint32(mask), err
}

// LoginUID reads the audit login uid, 1<<32-1 when it is not set. Without CONFIG_AUDIT: [ErrNotSupported].
func (p *Proc) LoginUID() (uint32, error) {
	v, err := p.number("loginuid", 10)
	if isMissing(err) {
		err = fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return uint32(v), err
}

// SessionID reads the audit session id, 1<<32-1 when it is not set. Without CONFIG_AUDIT: [ErrNotSupported].
func (p *Proc) SessionID() (uint32, error) {
	v, err := p.number("sessionid", 10)
	if isMissing(err) {
		err = fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return uint32(v), err
}

// TimerSlack reads the timer slack of the thread in ns. Needs CAP_SYS_NICE for other processes. Of a real-time thread
// it is 0, whatever was set (Linux 6.11).
func (p *Proc) TimerSlack() (uint64, error) {
	// The file exists under /proc/TID but not under /proc/PID/task/TID.
	name := "timerslack_ns"
	if p.prefix != "" {
		q := &Proc{dir: p.dir, pid: p.tid, tid: p.tid, prefix: "../" + strconv.Itoa(p.tid) + "/"}
		return q.number(name, 10)
	}
	return p.number(name, 10)
}

// Wchan reads the name of the kernel function that the task sleeps in; "0" when it runs or names are hidden.
func (p *Proc) Wchan() (string, error) {
	var name string
	err := p.text("wchan", func(b []byte) error {
		name = string(trimNewline(b))
		return nil
	})
	return name, err
}

// Syscall is /proc/PID/syscall: what a task that does not run is blocked in.
type Syscall struct {
	Running bool // nothing else is known then
	Nr      int  // -1 when it is blocked, but not in a system call
	Args    [6]uint64
	SP, PC  uint64
}

// Syscall reads the system call that the thread is in. Needs the right to ptrace it and
// CONFIG_HAVE_ARCH_TRACEHOOK, which all machines but a few have.
func (p *Proc) Syscall() (*Syscall, error) {
	s := new(Syscall)
	return s, p.text("syscall", s.parse)
}

// parse takes "running", "-1 SP PC" or "NR A0 A1 A2 A3 A4 A5 SP PC".
func (s *Syscall) parse(b []byte) error {
	*s = Syscall{}
	b = trimNewline(b)
	line := b
	if string(b) == "running" {
		s.Running = true
		return nil
	}
	f, b := cutField(b)
	var ok bool
	if s.Nr, ok = parseID(f); !ok {
		return bad("syscall", line)
	}
	fields := []*uint64{&s.Args[0], &s.Args[1], &s.Args[2], &s.Args[3], &s.Args[4], &s.Args[5], &s.SP, &s.PC}
	if s.Nr == -1 {
		fields = fields[6:]
	}
	for _, field := range fields {
		f, b = cutField(b)
		if *field, ok = parseHex(f); !ok {
			return bad("syscall", line)
		}
	}
	return nil
}

// NSID names a namespace: two tasks are in the same one when both numbers agree.
type NSID struct {
	Dev uint64
	Ino uint64
}

// namespaces are the entries of /proc/PID/ns. A kernel may lack some.
var namespaces = [...]string{
	"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts",
}

// NS returns the namespaces of the task by name ("mnt", "pid_for_children" …). Those that the kernel is built without
// are missing; a zombie has few. Needs the right to ptrace the task.
func (p *Proc) NS() (map[string]NSID, error) {
	ids := make(map[string]NSID, len(namespaces))
	for _, name := range namespaces {
		var st unix.Stat_t
		switch err := unix.Fstatat(p.dir, p.prefix+"ns/"+name, &st, 0); err {
		case nil:
			ids[name] = NSID{Dev: st.Dev, Ino: st.Ino}
		case unix.ENOENT:
			if err := p.fail("stat", "ns/"+name, err); errors.Is(err, ErrGone) {
				return nil, err
			}
		default:
			return nil, p.fail("stat", "ns/"+name, err)
		}
	}
	return ids, nil
}

// number reads a file that holds one unsigned number.
func (p *Proc) number(name string, base uint64) (uint64, error) {
	var v uint64
	err := p.text(name, func(b []byte) error {
		var ok bool
		if v, ok = parseUint(trim(trimNewline(b)), base); !ok {
			return bad(name, b)
		}
		return nil
	})
	return v, err
}

// parseNumberLine parses a line that holds one number with an optional sign.
func parseNumberLine(b []byte) (int, error) {
	v, ok := parseID(trim(trimNewline(b)))
	if !ok {
		return 0, bad("number", b)
	}
	return v, nil
}
