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

// leadingUint parses the digits that b begins with and returns how many there are; 0 also when the number does
// not fit into 64 bits.
func leadingUint(b []byte, base uint64) (v uint64, n int) {
	for n < len(b) {
		c := b[n]
		var d uint64
		switch {
		case '0' <= c && c <= '9':
			d = uint64(c - '0')
		case 'a' <= c && c <= 'f':
			d = uint64(c-'a') + 10
		case 'A' <= c && c <= 'F':
			d = uint64(c-'A') + 10
		default:
			return v, n
		}
		if d >= base {
			return v, n
		}
		if v > (^uint64(0)-d)/base {
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
