// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Nursery is the process from which a restore's processes descend: an ELF file of one page that sleeps in pause(2)
// and is driven from outside. It owns no descriptor.
type Nursery struct {
	*Session
	// Maps are its own mappings, which its children inherit: to be unmapped, or (vDSO, vvar) to be moved.
	Maps []NamedRange
}

// NamedRange is a mapping with its name.
type NamedRange struct {
	Range
	Name string
}

const (
	nurseryBase = 0x10000 // vm.mmap_min_addr
	nurseryCode = 0x100   // offset of the blob in its page
)

// StartNursery starts a nursery. It, and every process born from it, is killed if the engine dies. The calling OS thread must live
// as long.
func StartNursery() (*Nursery, error) {
	if len(blob) == 0 {
		return nil, fmt.Errorf("restoring on this architecture: %w", ErrNotSupported)
	}
	fd, err := unix.MemfdCreate("trapline", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, nurseryELF()); err != nil {
		return nil, fmt.Errorf("writing the first process: %w", err)
	}
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", fd), []string{"trapline"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return nil, fmt.Errorf("starting the first process: %w", err)
	}
	n, err := adoptNursery(pid)
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		return nil, fmt.Errorf("preparing the first process: %w", err)
	}
	return n, nil
}

func adoptNursery(pid int) (*Nursery, error) {
	s := &Session{pid: pid, tid: pid, sig: unix.SIGURG, deadline: time.Now().Add(10 * time.Second)}
	t, err := Seize(pid, s.options())
	if err != nil {
		return nil, err
	}
	s.T = t
	if err := t.Interrupt(); err != nil {
		return nil, err
	}
	if _, err := t.Poll(s.deadline); err != nil {
		return nil, err
	}
	if s.mem, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0); err != nil {
		return nil, err
	}
	n := &Nursery{Session: s}
	if n.Maps, err = namedMaps(pid); err != nil {
		return nil, err
	}
	if s.orig, err = t.Regs(); err != nil {
		return nil, err
	}
	s.code = nurseryBase + nurseryCode
	if err := t.SetSigMask(allSignals &^ (1 << (s.sig - 1))); err != nil {
		return nil, err
	}
	if _, err := s.Call(unix.SYS_CLOSE_RANGE, 0, uint64(^uint32(0)), 0); err != nil {
		return nil, fmt.Errorf("closing its descriptors: %w", err)
	}
	return n, nil
}

// Settle gives the nursery a scratch area of size bytes outside of all avoid, in ascending order, which every process born from it
// inherits at the same place.
func (n *Nursery) Settle(avoid []Range, size uint64) error {
	s := n.Session
	s.deadline = time.Now().Add(10 * time.Second)
	all := append([]Range(nil), avoid...)
	for _, m := range n.Maps {
		all = append(all, m.Range)
	}
	sortRanges(all)
	area, err := hole(all, size+pageSize)
	if err != nil {
		return err
	}
	if _, err := s.Call(sysMmap, area, size+pageSize, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0); err != nil {
		return fmt.Errorf("scratch memory of the first process: %w", err)
	}
	// the first page of the area is the code
	if err := s.WriteMem(area, blob); err != nil {
		return err
	}
	s.code, s.Area, s.AreaSize = area, area+pageSize, size
	return nil
}

// Reach is the end of the address space as far as it is known: where the kernel puts the stack tells Sv39 from what is larger, and from
// there on a program may have maps above its stack.
func (n *Nursery) Reach() Addr {
	const sv39 = 1 << 38
	for _, m := range n.Maps {
		if m.Name == "[stack]" && m.End <= sv39 {
			return sv39
		}
	}
	return ^Addr(0)
}

// Whole is the scratch area with the page of code in front of it.
func (n *Nursery) Whole() Range { return Range{n.Area - pageSize, n.Area + n.AreaSize} }

// nurseryELF is a static executable: ELF header, two program headers, and code.
func nurseryELF() []byte {
	p := make([]byte, pageSize)
	copy(p, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(p[16:], 2) // ET_EXEC
	le.PutUint16(p[18:], elfMachine)
	le.PutUint32(p[20:], 1)
	le.PutUint64(p[24:], nurseryBase+nurseryCode-uint64(len(pauseLoop))-16)
	le.PutUint64(p[32:], 64)
	le.PutUint16(p[52:], 64)
	le.PutUint16(p[54:], 56)
	le.PutUint16(p[56:], 2)
	ph := p[64:]
	le.PutUint32(ph, 1)     // PT_LOAD
	le.PutUint32(ph[4:], 5) // R, X
	le.PutUint64(ph[16:], nurseryBase)
	le.PutUint64(ph[24:], nurseryBase)
	le.PutUint64(ph[32:], pageSize)
	le.PutUint64(ph[40:], pageSize)
	le.PutUint64(ph[48:], pageSize)
	ph = p[64+56:]
	le.PutUint32(ph, 0x6474e551) // PT_GNU_STACK: no executable stack
	le.PutUint32(ph[4:], 6)
	copy(p[nurseryCode-len(pauseLoop)-16:], pauseLoop)
	copy(p[nurseryCode:], blob)
	return p
}

func namedMaps(pid int) ([]NamedRange, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	var out []NamedRange
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		var m NamedRange
		if _, err := fmt.Sscanf(sc.Text(), "%x-%x", &m.Start, &m.End); err != nil {
			return nil, fmt.Errorf("maps of %d: %w", pid, err)
		}
		if f := strings.Fields(sc.Text()); len(f) > 5 {
			m.Name = f[5]
		}
		out = append(out, m)
	}
	return out, nil
}

// Child makes the session of a process that a batch of s has cloned with CLONE_PTRACE, as tid; it waits until it is stopped.
func (s *Session) Child(tid int) (*Session, error) {
	t, err := adopt(tid, time.Now().Add(10*time.Second))
	if err != nil {
		return nil, err
	}
	c := *s
	c.T, c.pid, c.tid, c.unwind, c.Calls = t, tid, tid, nil, 0
	c.deadline = time.Now().Add(10 * time.Second)
	if c.mem, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", t.Tid), os.O_RDWR, 0); err != nil {
		return nil, err
	}
	return &c, nil
}

// Thread makes the session of another thread of the process, cloned in the same way, with part of the scratch area of its
// own: n bytes, n*i behind its start.
func (s *Session) Thread(tid, i int, n uint64) (*Session, error) {
	t, err := adopt(tid, time.Now().Add(10*time.Second))
	if err != nil {
		return nil, err
	}
	c := *s
	c.T, c.tid, c.Calls = t, tid, 0
	c.Area, c.AreaSize = s.Area+uint64(i)*n, n
	return &c, nil
}

// Close closes what the session holds in the engine. The process stays as it is.
func (s *Session) Close() error { return s.mem.Close() }

// LeaveParts unmap the area, which the other calls were made from, with the system call instruction at pc, and bring the process to a
// stop inside the kernel's signal handling, where registers can be set freely and pending signals are looked at before it runs.
// They are to be done in this order; those of several processes can be interleaved, since the processes run between them.
func (s *Session) LeaveParts(pc Addr, area Range) [4]func() error {
	return [...]func() error{
		func() error {
			return s.callBegin(s.T, pc-s.code, sysMunmap, [6]uint64{area.Start, area.End - area.Start})
		},
		func() error { return s.callEnter(s.T) },
		func() error {
			v, err := s.callEnd(s.T)
			if err != nil {
				return err
			}
			if _, err := errnoOf(v); err != nil {
				return fmt.Errorf("unmapping scratch memory: %w", err)
			}
			return s.trapBegin(s.T)
		},
		func() error { return s.trapEnd(s.T) },
	}
}

// Syscall finds a system call instruction in the executable range, to call it with CallAt.
func (s *Session) Syscall(r Range) (Addr, error) {
	buf := make([]byte, min(r.End-r.Start, 1<<20))
	if err := s.ReadMem(r.Start, buf); err != nil {
		return 0, err
	}
	for at := 0; ; {
		i := bytes.Index(buf[at:], []byte(syscallInsn))
		if i < 0 {
			break
		}
		if at += i; at%insnAlign == 0 {
			return r.Start + Addr(at), nil
		}
		at++
	}
	return 0, fmt.Errorf("no system call instruction in %#x-%#x", r.Start, r.End)
}

// Kill ends a process of a restore by a signal, whose action is the default one, so that its wait status says so.
func (s *Session) Kill(sig unix.Signal) error {
	if err := s.T.SetSigMask(0); err != nil {
		return err
	}
	if err := unix.Tgkill(s.T.Tid, s.T.Tid, sig); err != nil {
		return err
	}
	// SIGKILL ends it in the stop
	if err := s.T.Cont(0); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	for {
		st, err := s.T.Wait()
		if err != nil {
			return err
		}
		if st.Kind == StopExited {
			return nil
		}
		var deliver unix.Signal
		if st.Kind == StopSignal {
			deliver = st.Signal
		}
		if err := s.T.Cont(deliver); err != nil {
			return err
		}
	}
}
