// SPDX-License-Identifier: Apache-2.0

package place

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trapline/trapline/probes"
)

// A function is a symbol of a program.
type function struct {
	name    string // without its version
	version string // "" if it has none
	hidden  bool   // an old version, which programs that are linked now do not get
	ifunc   bool   // its code only chooses the implementation, once, when the program starts
	address uint64
	size    uint64 // bytes; where the symbol has none, up to the next function. 0 if there is none
}

func (f *function) String() string {
	if f.hidden {
		return f.name + "@" + f.version
	}
	return f.name
}

// functions are those of one program, by address.
type functions []function

// readFunctions reads the functions of both symbol tables.
func (p *program) readFunctions() (functions, error) {
	var list functions
	for _, read := range []func() ([]elf.Symbol, error){p.Symbols, p.DynamicSymbols} {
		symbols, err := read()
		if errors.Is(err, elf.ErrNoSymbols) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: symbols: %w", p.path, err)
		}
		for _, s := range symbols {
			typ := elf.ST_TYPE(s.Info)
			if typ != elf.STT_FUNC && typ != elf.STT_GNU_IFUNC || s.Section == elf.SHN_UNDEF || s.Value == 0 {
				continue
			}
			fn := function{
				name: s.Name, version: s.Version, hidden: s.HasVersion && s.VersionIndex.IsHidden(),
				ifunc: typ == elf.STT_GNU_IFUNC, address: s.Value, size: s.Size,
			}
			// The linker writes the version behind the name in the other table: memcpy@@GLIBC_2.14, memcpy@GLIBC_2.2.5.
			if name, version, ok := strings.Cut(s.Name, "@"); ok && name != "" {
				fn.name, fn.version, fn.hidden = name, strings.TrimPrefix(version, "@"), !strings.HasPrefix(version, "@")
			}
			list = append(list, fn)
		}
	}
	slices.SortStableFunc(list, func(a, b function) int { return cmp.Compare(a.address, b.address) })
	end := uint64(0)
	for i := len(list) - 1; i >= 0; i-- {
		if i+1 < len(list) && list[i+1].address != list[i].address {
			end = list[i+1].address
		}
		if list[i].size == 0 && end != 0 {
			list[i].size = end - list[i].address
		}
	}
	return list, nil
}

// at gives the functions that begin at an address.
func (fs functions) at(address uint64) functions {
	i, _ := slices.BinarySearchFunc(fs, address, func(f function, a uint64) int { return cmp.Compare(f.address, a) })
	j := i
	for j < len(fs) && fs[j].address == address {
		j++
	}
	return fs[i:j]
}

// around gives the function that an address lies in.
func (fs functions) around(address uint64) (function, bool) {
	i, found := slices.BinarySearchFunc(fs, address, func(f function, a uint64) int { return cmp.Compare(f.address, a) })
	if found {
		return fs[i], true
	}
	for i--; i >= 0; i-- {
		if address-fs[i].address < fs[i].size {
			return fs[i], true
		}
		// Functions lie inside others only in hand-written code, and then not far behind their start.
		if address-fs[i].address > maxCode {
			break
		}
	}
	return function{}, false
}

// names gives the names that can be probed.
func (fs functions) names() []string {
	var names []string
	for _, f := range fs {
		if !f.ifunc {
			names = append(names, f.name)
		}
	}
	return names
}

// match gives the functions that a pattern names, one for each address, by name. Old versions of a name count only where
// there is no current one. A name with an @ is that very version.
func (fs functions) match(pattern string) functions {
	glob := probes.IsGlob(pattern)
	current := map[string]bool{}
	for _, f := range fs {
		if !f.hidden {
			current[f.name] = true
		}
	}
	var found functions
	seen := map[uint64]bool{}
	for _, f := range fs {
		named := f.name == pattern || glob && probes.MatchGlob(pattern, f.name)
		if f.hidden && current[f.name] {
			named = false
		}
		if !named && (f.version == "" || f.name+"@"+f.version != pattern) {
			continue
		}
		if f.ifunc || seen[f.address] {
			continue
		}
		seen[f.address] = true
		found = append(found, f)
	}
	slices.SortStableFunc(found, func(a, b function) int { return strings.Compare(a.name, b.name) })
	return found
}

// mostImplementations is how many names an error gives.
const mostImplementations = 8

// chosenAtRunTime gives the error for a name whose code the dynamic linker chooses, nil if it is none. Its implementations
// are found by their names: __strlen_avx2 is one of strlen.
func (fs functions) chosenAtRunTime(name string) error {
	if !slices.ContainsFunc(fs, func(f function) bool {
		return f.ifunc && (f.name == name && !f.hidden || f.version != "" && f.name+"@"+f.version == name)
	}) {
		return nil
	}
	err := fmt.Errorf("the implementation of %s is chosen at run time, by what the processor can do (an IFUNC)", name)
	name, _, _ = strings.Cut(name, "@")
	choosers := map[uint64]bool{} // where the code that chooses lies, which has names too
	for _, f := range fs {
		if f.ifunc {
			choosers[f.address] = true
		}
	}
	var likely []string
	for _, f := range fs {
		if !choosers[f.address] && !f.hidden && f.name != name && hasPart(f.name, name) {
			likely = append(likely, f.name)
		}
	}
	slices.Sort(likely)
	likely = slices.Compact(likely)
	switch n := len(likely); {
	case n == 0:
		return fmt.Errorf("%w, and the file does not name those that there are; probe one by its address", err)
	case n > mostImplementations:
		return fmt.Errorf("%w; probe one of %s and %d more", err, strings.Join(likely[:mostImplementations], ", "), n-mostImplementations)
	}
	return fmt.Errorf("%w; probe one of %s", err, strings.Join(likely, ", "))
}

// hasPart says whether a name has another one in it as a word, with no letter or digit beside it.
func hasPart(name, part string) bool {
	inWord := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }
	i := strings.Index(name, part)
	if i < 0 || part == "" {
		return false
	}
	end := i + len(part)
	return (i == 0 || !inWord(name[i-1])) && (end == len(name) || !inWord(name[end]))
}
