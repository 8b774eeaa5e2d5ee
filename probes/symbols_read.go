// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
)

// What a list of symbols may have at most; a kernel with everything in it stays far below.
const (
	maxSymbols     = 4 << 20
	maxSymbolBytes = 256 << 20
	maxSymbolLine  = 1024
)

// ReadSymbols reads symbols in the format of /proc/kallsyms: address, type, name, and the module in brackets behind a
// tab. The error names the line.
func ReadSymbols(r io.Reader) (*Symbols, error) {
	// Room for what a distribution has, so that little is copied; what stays unused is never touched.
	s := &Symbols{modules: []string{""}, entries: make([]entry, 0, 1<<18)}
	modules := map[string]uint16{"": 0}
	names := make([]byte, 0, 8<<20)
	in := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if len(line) == 0 && errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("reading symbols: %w", err)
		}
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if len(line) > maxSymbolLine {
			return nil, fmt.Errorf("line %d of the symbols has more than %d bytes", n, maxSymbolLine)
		}
		if n > maxSymbols || len(names) > maxSymbolBytes {
			return nil, fmt.Errorf("line %d: more than %d symbols", n, maxSymbols)
		}
		e, name, module, ok := readSymbol(line)
		if !ok {
			return nil, fmt.Errorf("line %d of the symbols is not \"ADDRESS TYPE NAME [MODULE]\": %.100q", n, line)
		}
		if string(module) != s.modules[e.module] {
			id, known := modules[string(module)]
			if !known {
				if len(modules) > math.MaxUint16 {
					return nil, fmt.Errorf("line %d: more than %d modules", n, math.MaxUint16)
				}
				id = uint16(len(modules))
				s.modules = append(s.modules, string(module))
				modules[s.modules[id]] = id
			}
			e.module = id
		}
		e.name, e.length = uint32(len(names)), uint16(len(name))
		names = append(names, name...)
		s.entries = append(s.entries, e)
	}
	s.names = bytesAsString(names)
	s.sort()
	return s, nil
}

// readSymbol takes a line apart. Of the entry only address and type are set.
func readSymbol(line []byte) (e entry, name, module []byte, ok bool) {
	i := 0
	for ; i < len(line) && line[i] != ' '; i++ {
		digit := line[i] - '0'
		if digit > 9 {
			if digit = line[i] | 0x20 - 'a'; digit > 5 {
				return e, nil, nil, false
			}
			digit += 10
		}
		e.address = e.address<<4 | uint64(digit)
	}
	if i == 0 || i > 16 || len(line) < i+4 || line[i+2] != ' ' {
		return e, nil, nil, false
	}
	e.typ = line[i+1]
	name = line[i+3:]
	if tab := bytes.IndexByte(name, '\t'); tab >= 0 {
		if module = name[tab+1:]; len(module) < 3 || module[0] != '[' || module[len(module)-1] != ']' {
			return e, nil, nil, false
		}
		name, module = name[:tab], module[1:len(module)-1]
	}
	return e, name, module, len(name) > 0 && isIdent(e.typ) && printable(name) && printable(module)
}

// printable says whether the text can be shown on a terminal as it is.
func printable(s []byte) bool {
	for _, c := range s {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// sort puts the entries into the order of their addresses; entries of one address stay in the order they came in. The
// kernel's own come sorted, so that only the modules' at the end have to be.
func (s *Symbols) sort() {
	byAddress := func(a, b entry) int { return cmp.Compare(a.address, b.address) }
	sorted := 1
	for sorted < len(s.entries) && s.entries[sorted-1].address <= s.entries[sorted].address {
		sorted++
	}
	if sorted >= len(s.entries) {
		return
	}
	tail := slices.Clone(s.entries[sorted:])
	slices.SortStableFunc(tail, byAddress)
	// Merge from the end: what has no place yet never overtakes what is still to be read.
	i, j := sorted-1, len(tail)-1
	for to := len(s.entries) - 1; j >= 0; to-- {
		if i >= 0 && s.entries[i].address > tail[j].address {
			s.entries[to] = s.entries[i]
			i--
		} else {
			s.entries[to] = tail[j]
			j--
		}
	}
}

// letters is a set of the characters in a name: a cheap way to see that two names differ in many.
func letters(name string) uint64 {
	var set uint64
	for i := 0; i < len(name); i++ {
		set |= 1 << (name[i] & 63)
	}
	return set
}

// differ counts the characters that only one of two sets has. A changed letter makes 2 at most.
func differ(a, b uint64) int { return bits.OnesCount64(a ^ b) }
