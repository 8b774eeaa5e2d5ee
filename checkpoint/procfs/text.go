// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"strings"
)

// cutLine takes the first line, without its newline, off b.
func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// cutField takes the first field off b: what stands before the next spaces or tabs, leading ones skipped.
func cutField(b []byte) (field, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	j := i
	for j < len(b) && b[j] != ' ' && b[j] != '\t' {
		j++
	}
	return b[i:j], b[j:]
}

// cutKey splits "key: value" or "key:\tvalue" and trims the blanks around the value. ok is false without a colon.
func cutKey(line []byte) (key, value []byte, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i < 0 {
		return nil, nil, false
	}
	return line[:i], trim(line[i+1:]), true
}

// trim takes spaces and tabs off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// parseUint parses all of b as an unsigned number of base 8, 10 or 16. It fails on an empty text, on any other byte
// and on a number above 64 bits.
func parseUint(b []byte, base uint64) (uint64, bool) {
	v, n := leadingUint(b, base)
	return v, n == len(b) && n > 0
}

// digits maps a byte to its value as a digit of base 16 or lower, anything else to 0xff.
var digits = func() (table [256]uint8) {
	for i := range table {
		table[i] = 0xff
	}
	for i := range uint8(10) {
		table['0'+i] = i
	}
	for i := range uint8(6) {
		table['a'+i], table['A'+i] = 10+i, 10+i
	}
	return table
}()

// leadingUint parses the digits that b begins with and returns how many there are; 0 also when the number does
// not fit into 64 bits.
func leadingUint(b []byte, base uint64) (v uint64, n int) {
	// So many digits always fit.
	safe := 16
	switch base {
	case 8:
		safe = 21
	case 10:
		safe = 19
	}
	for n < len(b) {
		d := uint64(digits[b[n]])
		if d >= base {
			return v, n
		}
		if n >= safe && v > (^uint64(0)-d)/base {
			return 0, 0
		}
		v = v*base + d
		n++
	}
	return v, n
}

// parseInt parses all of b as a decimal number with an optional sign.
func parseInt(b []byte) (int64, bool) {
	if len(b) > 0 && b[0] == '-' {
		v, ok := parseUint(b[1:], 10)
		return -int64(v), ok && v <= 1<<63
	}
	v, ok := parseUint(b, 10)
	return int64(v), ok && v < 1<<63
}

// parseHex parses a hexadecimal number with or without 0x.
func parseHex(b []byte) (uint64, bool) {
	if len(b) > 2 && b[0] == '0' && b[1] == 'x' {
		b = b[2:]
	}
	return parseUint(b, 16)
}

// unescape resolves the octal escapes (\040 for a space) of mangle_path in the kernel. A backslash that three octal
// digits do not follow stays.
func unescape(b []byte) string {
	i := bytes.IndexByte(b, '\\')
	if i < 0 {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b))
	s.Write(b[:i])
	for ; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) {
			if v, n := leadingUint(b[i+1:i+4], 8); n == 3 && v < 256 {
				s.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		s.WriteByte(b[i])
	}
	return s.String()
}

// deletedSuffix is what the kernel appends to the path of a file that has no name any more (d_path).
const deletedSuffix = " (deleted)"

// CutDeleted takes the kernel's " (deleted)" off the text of a link such as /proc/PID/fd/N or exe. A file may be
// called so by its owner: only its link count (0) tells for sure.
func CutDeleted(link string) (path string, deleted bool) {
	return strings.CutSuffix(link, deletedSuffix)
}
