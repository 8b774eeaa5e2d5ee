// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// SumsName is the file that holds the checksums of all others. It is text, one file a line:
//
//	trapline-sums 1 1048576                    version, bytes a block
//	file "core-12.img" 2275 5a0b11c2           name, length, CRC-32C of each block
//	file "pages-1.img" 1572864 0c4f… 91d2…
//	link "parent" "../1"                       name, target
//	skip "dump.log"                            there when the dump finished, but none of its files
//	end 4 8e2f00aa                             lines between, CRC-32C of all that precedes
//
// Lines are sorted by name. There is exactly one way to write given sums, and a reader accepts no
// other, so that a change of any byte of this file shows too.
const SumsName = "trapline-sums"

// BlockSize is how many bytes one checksum covers.
const BlockSize = 1 << 20

// castagnoli is CRC-32C, which x86-64 has an instruction for: some 10 GB/s here.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// fileSum is what the sums say of one file or link.
type fileSum struct {
	Name   string
	Size   int64
	Blocks []uint32 // one per BlockSize bytes begun
	Link   bool
	Target string // of a link
	Skip   bool   // a log or the like: may change and go
}

// sums is the contents of the sums file.
type sums map[string]fileSum

func blocksOf(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// encode renders the file, see SumsName.
func (s sums) encode() []byte {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	b := fmt.Appendf(nil, "trapline-sums 1 %d\n", BlockSize)
	for _, name := range names {
		f := s[name]
		switch {
		case f.Skip:
			b = append(b, "skip "...)
			b = strconv.AppendQuoteToASCII(b, name)
		case f.Link:
			b = append(b, "link "...)
			b = strconv.AppendQuoteToASCII(b, name)
			b = append(b, ' ')
			b = strconv.AppendQuoteToASCII(b, f.Target)
		default:
			b = append(b, "file "...)
			b = strconv.AppendQuoteToASCII(b, name)
			b = append(b, ' ')
			b = strconv.AppendInt(b, f.Size, 10)
			for _, c := range f.Blocks {
				b = fmt.Appendf(b, " %08x", c)
			}
		}
		b = append(b, '\n')
	}
	return fmt.Appendf(b, "end %d %08x\n", len(s), crc32.Checksum(b, castagnoli()))
}

// decodeSums reads what encode wrote. Every error wraps ErrCorrupt.
func decodeSums(data []byte) (sums, error) {
	end := bytes.LastIndex(data, []byte("\nend ")) + 1
	if end == 0 {
		return nil, corrupt(SumsName, -1, "no end line: the file is truncated or not one of ours")
	}
	var n int
	var crc uint32
	if _, err := fmt.Sscanf(string(data[end:]), "end %d %08x\n", &n, &crc); err != nil {
		return nil, corrupt(SumsName, int64(end), "bad end line")
	}
	if got := crc32.Checksum(data[:end], castagnoli()); got != crc {
		return nil, corrupt(SumsName, -1, "its own checksum is %08x, not %08x", got, crc)
	}
	lines := strings.Split(string(data[:end-1]), "\n")
	if lines[0] != fmt.Sprintf("trapline-sums 1 %d", BlockSize) {
		return nil, corrupt(SumsName, 0, "unknown version or block size: %.40q", lines[0])
	}
	s := make(sums, len(lines)-1)
	for i, line := range lines[1:] {
		f, err := decodeSumLine(line)
		if err != nil {
			return nil, corrupt(SumsName, -1, "line %d: %v", i+2, err)
		}
		s[f.Name] = f
	}
	// Catches whatever the parser lets pass: other spellings, order, repeated names, a wrong count.
	if len(s) != n || !bytes.Equal(s.encode(), data) {
		return nil, corrupt(SumsName, -1, "not in the one form that a dump writes")
	}
	return s, nil
}

func decodeSumLine(line string) (fileSum, error) {
	kind, rest, _ := strings.Cut(line, " ")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return fileSum{}, fmt.Errorf("no quoted name")
	}
	name, err := strconv.Unquote(quoted)
	if err != nil || !validName(name) {
		return fileSum{}, fmt.Errorf("bad name %.40s", quoted)
	}
	if kind == "skip" {
		if len(rest) != len(quoted) {
			return fileSum{}, fmt.Errorf("more than a name")
		}
		return fileSum{Name: name, Skip: true}, nil
	}
	rest, ok := strings.CutPrefix(rest[len(quoted):], " ")
	if !ok {
		return fileSum{}, fmt.Errorf("nothing after the name")
	}
	switch kind {
	case "link":
		target, err := strconv.Unquote(rest)
		if err != nil {
			return fileSum{}, fmt.Errorf("bad link target")
		}
		return fileSum{Name: name, Link: true, Target: target}, nil
	case "file":
		fields := strings.Split(rest, " ")
		size, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil || size < 0 || size > 1<<62 || blocksOf(size) != int64(len(fields)-1) {
			return fileSum{}, fmt.Errorf("%s: length and number of checksums disagree", name)
		}
		f := fileSum{Name: name, Size: size}
		for _, field := range fields[1:] {
			c, err := strconv.ParseUint(field, 16, 32)
			if err != nil {
				return fileSum{}, fmt.Errorf("%s: bad checksum %.16q", name, field)
			}
			f.Blocks = append(f.Blocks, uint32(c))
		}
		return f, nil
	}
	return fileSum{}, fmt.Errorf("unknown kind of line %.16q", kind)
}

// validName tells whether name is a plain file name, so that it can't lead out of the directory.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsAny(name, "/\x00")
}

// blockSummer is an io.Writer that takes the checksums of a file as it is written from its start.
type blockSummer struct {
	size   int64
	blocks []uint32
	cur    uint32 // of the block begun
}

// Write never fails.
func (b *blockSummer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		room := BlockSize - int(b.size%BlockSize)
		k := min(room, len(p))
		b.cur = crc32.Update(b.cur, castagnoli(), p[:k])
		b.size += int64(k)
		p = p[k:]
		if k == room {
			b.blocks = append(b.blocks, b.cur)
			b.cur = 0
		}
	}
	return n, nil
}

// done returns the sums of all that was written.
func (b *blockSummer) done(name string) fileSum {
	blocks := slices.Clip(b.blocks)
	if b.size%BlockSize != 0 {
		blocks = append(blocks, b.cur)
	}
	return fileSum{Name: name, Size: b.size, Blocks: blocks}
}
