// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Maps appends the mappings of the process to vmas (which may be nil), in the order of their addresses and without
// what only smaps tells: about 0.3 µs a mapping. A task without an address space gives [ErrNoMM].
//
// The list is consistent only while the process is stopped: the kernel writes it page by page.
func (p *Proc) Maps(vmas []VMA) ([]VMA, error) {
	return p.readMaps("maps", vmas)
}

// Smaps is [Proc.Maps] with flags and sizes: about 1.7 µs a mapping, of which 1.3 are the kernel's, and 4 ms for a GiB of
// small pages, as it looks at every page. No cheaper file has the flags, and PROCMAP_QUERY, at 0.4 µs a mapping, has
// neither them nor a gain over maps. A caller with several cores may run it beside other work.
func (p *Proc) Smaps(vmas []VMA) ([]VMA, error) {
	return p.readMaps("smaps", vmas)
}

func (p *Proc) readMaps(name string, vmas []VMA) ([]VMA, error) {
	fd, err := openat(p.dir, p.prefix+name, unix.O_RDONLY)
	if err != nil {
		return vmas, p.fail("open", name, err)
	}
	defer unix.Close(fd)
	buf := getBuffer()
	defer putBuffer(buf)

	parser := mapsParser{vmas: vmas}
	b, fill := *buf, 0
	for {
		n, err := read(fd, b[fill:])
		if err != nil {
			return vmas, p.fail("read", name, err)
		}
		if n == 0 {
			break
		}
		fill += n
		used, err := parser.lines(b[:fill])
		if err != nil {
			return vmas, p.malformed(name, err)
		}
		fill = copy(b, b[used:fill])
		if fill == len(b) {
			return vmas, p.malformed(name, bad("line too long", b))
		}
	}
	// The kernel ends every line; be content without the last newline.
	if fill > 0 {
		if err := parser.line(b[:fill]); err != nil {
			return vmas, p.malformed(name, err)
		}
	}
	if len(parser.vmas) == len(vmas) && p.hasNoMM() {
		// Before Linux 6.17 a zombie's and a kernel thread's file reads as empty.
		return vmas, p.fail("read", name, unix.ESRCH)
	}
	return parser.vmas, nil
}

// hasNoMM looks whether the process has no memory, as a zombie or kernel thread.
func (p *Proc) hasNoMM() bool {
	s, err := p.Stat()
	return err == nil && s.VSize == 0
}

// mapsParser collects mappings line by line. Paths that repeat are kept once.
type mapsParser struct {
	vmas  []VMA
	paths map[string]string
	last  string
	block smapsBlock
}

// lines parses the complete lines of b and returns their length.
func (m *mapsParser) lines(b []byte) (used int, err error) {
	for {
		i := bytes.IndexByte(b[used:], '\n')
		if i < 0 {
			return used, nil
		}
		if err := m.line(b[used : used+i]); err != nil {
			return used, err
		}
		used += i + 1
		if m.block.atStart() {
			used += m.block.read(b[used:], &m.vmas[len(m.vmas)-1])
		}
	}
}

// line parses one line. A line of maps begins with a lower-case hexadecimal digit, a line of smaps about the mapping
// before it with a capital letter.
func (m *mapsParser) line(b []byte) error {
	if len(b) == 0 {
		return bad("maps: empty line", nil)
	}
	if b[0] < 'A' || b[0] > 'Z' {
		return m.header(b)
	}
	if len(m.vmas) == 0 {
		return bad("smaps: no mapping before", b)
	}
	return m.block.line(b, &m.vmas[len(m.vmas)-1])
}

// header parses "START-END rwxp OFFSET MAJ:MIN INODE   PATH".
func (m *mapsParser) header(b []byte) error {
	var v VMA
	line := b
	var n int

	if v.Start, n = leadingUint(b, 16); n == 0 || n >= len(b) || b[n] != '-' {
		return bad("maps: start", line)
	}
	b = b[n+1:]
	if v.End, n = leadingUint(b, 16); n == 0 || n >= len(b) || b[n] != ' ' || v.End <= v.Start {
		return bad("maps: end", line)
	}
	b = b[n+1:]
	if len(m.vmas) > 0 && v.Start < m.vmas[len(m.vmas)-1].End {
		return bad("maps: not in order", line)
	}
	if len(b) < 5 || b[4] != ' ' {
		return bad("maps: permissions", line)
	}
	if b[0] == 'r' {
		v.Prot |= unix.PROT_READ
	}
	if b[1] == 'w' {
		v.Prot |= unix.PROT_WRITE
	}
	if b[2] == 'x' {
		v.Prot |= unix.PROT_EXEC
	}
	v.Shared = b[3] == 's'
	b = b[5:]
	if v.Offset, n = leadingUint(b, 16); n == 0 || n >= len(b) || b[n] != ' ' {
		return bad("maps: offset", line)
	}
	b = b[n+1:]
	major, n := leadingUint(b, 16)
	if n == 0 || n >= len(b) || b[n] != ':' || major > 1<<32-1 {
		return bad("maps: device", line)
	}
	b = b[n+1:]
	minor, n := leadingUint(b, 16)
	if n == 0 || n >= len(b) || b[n] != ' ' || minor > 1<<32-1 {
		return bad("maps: device", line)
	}
	v.Dev = unix.Mkdev(uint32(major), uint32(minor))
	b = b[n+1:]
	if v.Inode, n = leadingUint(b, 10); n == 0 || n < len(b) && b[n] != ' ' {
		return bad("maps: inode", line)
	}
	b = b[n:]
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	m.path(&v, b)
	m.vmas = append(m.vmas, v)
	m.block.start()
	return nil
}

// path gives v its name. Neighbours mostly share theirs, and then everything that follows from it.
func (m *mapsParser) path(v *VMA, b []byte) {
	if len(b) == 0 {
		v.classify("")
		return
	}
	if string(b) == m.last && len(m.vmas) > 0 {
		if prev := &m.vmas[len(m.vmas)-1]; prev.Dev == v.Dev && prev.Inode == v.Inode && prev.Path != "" {
			v.Kind, v.Path, v.Name, v.Deleted = prev.Kind, prev.Path, prev.Name, prev.Deleted
			return
		}
	}
	s, ok := m.paths[string(b)]
	if !ok {
		s = string(b)
		if m.paths == nil {
			m.paths = make(map[string]string)
		}
		m.paths[s] = s
	}
	m.last = s
	if b[0] == '/' && bytes.IndexByte(b, '\\') >= 0 {
		// Only newlines are escaped in this file.
		s = string(bytes.ReplaceAll(b, []byte(`\012`), []byte("\n")))
	}
	v.classify(s)
}
