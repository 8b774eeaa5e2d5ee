// SPDX-License-Identifier: Apache-2.0

package procfs

import "bytes"

// smapsKeys are the lines of smaps that are wanted, in the order in which the kernel prints them.
var smapsKeys = [...]string{
	"KernelPageSize:", "Rss:", "Anonymous:", "AnonHugePages:", "ShmemPmdMapped:", "Shared_Hugetlb:",
	"Private_Hugetlb:", "Swap:", "Locked:", "ProtectionKey:", "VmFlags:",
}

// The two of them that are not sizes.
const (
	keyProtection = len(smapsKeys) - 2
	keyFlags      = len(smapsKeys) - 1
)

// size is the field for one of smapsKeys.
func (v *VMA) size(key int) *uint64 {
	switch smapsKeys[key] {
	case "KernelPageSize:":
		return &v.PageSize
	case "Rss:":
		return &v.Rss
	case "Anonymous:":
		return &v.Anonymous
	case "AnonHugePages:":
		return &v.AnonHuge
	case "ShmemPmdMapped:":
		return &v.ShmemPMD
	case "Swap:":
		return &v.Swap
	case "Locked:":
		return &v.Locked
	default: // shared or private
		return &v.Hugetlb
	}
}

// smapsBlock reads the lines of smaps below a mapping's first. The kernel prints the same ones for every mapping and
// pads numbers to eight digits, so they stand where they stood in the block before: it looks there for the few that
// are wanted, and goes through a block line by line only when they are not.
type smapsBlock struct {
	at    [len(smapsKeys)]int // offsets of the lines within a block, -1 for one that is not printed
	known bool                // at is filled
	next  [len(smapsKeys)]int // the same of the block that is read line by line
	pos   int                 // bytes of it so far
}

// start begins a block.
func (s *smapsBlock) start() {
	s.pos = 0
	for i := range s.next {
		s.next[i] = -1
	}
}

// atStart says that the next line may be the first of a block of known layout.
func (s *smapsBlock) atStart() bool { return s.known && s.pos == 0 }

// read takes up a whole block at the beginning of b and returns its length, 0 when its lines are not where they are
// expected or not all in b.
func (s *smapsBlock) read(b []byte, v *VMA) int {
	for i, at := range s.at {
		if at < 0 {
			continue
		}
		if at >= len(b) || at > 0 && b[at-1] != '\n' || !bytes.HasPrefix(b[at:], []byte(smapsKeys[i])) {
			return 0
		}
	}
	end := bytes.IndexByte(b[s.at[keyFlags]:], '\n')
	if end < 0 {
		return 0
	}
	end += s.at[keyFlags]
	read := *v
	for i, at := range s.at {
		if at < 0 {
			continue
		}
		line := b[at:end]
		if i != keyFlags {
			n := bytes.IndexByte(line, '\n')
			if n < 0 {
				return 0
			}
			line = line[:n]
		}
		if read.detail(i, line) != nil {
			return 0 // reading it line by line gives the same error
		}
	}
	*v = read
	s.pos = end + 1
	return end + 1
}

// line takes up one line, which has no newline.
func (s *smapsBlock) line(b []byte, v *VMA) error {
	at := s.pos
	s.pos += len(b) + 1
	for i, key := range smapsKeys {
		if b[0] != key[0] || !bytes.HasPrefix(b, []byte(key)) {
			continue
		}
		s.next[i] = at
		if i == keyFlags {
			s.at, s.known = s.next, true
		}
		return v.detail(i, b)
	}
	return nil
}

// detail takes up the line of smapsKeys[key].
func (v *VMA) detail(key int, line []byte) error {
	value := line[len(smapsKeys[key]):]
	switch key {
	case keyFlags:
		v.Flags = parseVMFlags(value)
		return nil
	case keyProtection:
		pkey, ok := parseID(trim(value))
		if !ok {
			return bad("smaps", line)
		}
		v.ProtectionKey = pkey
		return nil
	}
	if bytes.HasSuffix(value, []byte(" 0 kB")) {
		return nil
	}
	size, ok := parseKB(trim(value))
	field := v.size(key)
	if !ok || *field+size < size {
		return bad("smaps", line)
	}
	*field += size // Hugetlb is the sum of two lines
	return nil
}
