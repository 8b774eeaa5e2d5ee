// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"unsafe"
)

// ErrNoSymbol says that the kernel has no symbol of a name.
var ErrNoSymbol = errors.New("not found")

// ErrRestricted says that the kernel shows the names of its symbols but hides their addresses.
var ErrRestricted = errors.New("the kernel hides the addresses of its symbols")

// A Symbol is a name in the kernel: a function or a variable.
type Symbol struct {
	Name    string
	Module  string // "" is the kernel itself; "bpf" and names with __builtin__ are code made at run time
	Address uint64 // 0 if reading is restricted
	Size    uint64 // bytes until the next symbol, or to the page's end if none follows closely; 0 if unknown
	Type    byte   // as nm shows it: T function, D B R data, W weak; small letters are local to a file
}

// Function says whether the symbol is code.
func (s Symbol) Function() bool { return isFunction(s.Type) }

func isFunction(t byte) bool { return t == 'T' || t == 't' || t == 'W' || t == 'w' }

// String gives the name as Parse reads it: MODULE:NAME, or NAME in the kernel itself.
func (s Symbol) String() string {
	if s.Module == "" {
		return s.Name
	}
	return s.Module + ":" + s.Name
}

// Symbols are the symbols of a running kernel at one moment, in the order of their addresses. Its methods may be called
// from several goroutines.
//
// A kernel has 100,000 to 250,000 of them. So there is one string for all names, one small struct a symbol, and an index
// by name that is made when it is first needed.
type Symbols struct {
	names    string
	modules  []string // by entry.module
	entries  []entry
	restrict string // what kptr_restrict holds, if it is known

	once  sync.Once
	seed  maphash.Seed
	slots []uint32 // a hash table with open addressing; holds 1 + an index into entries, or 0
}

// entry is one symbol: its name is at names[name:name+length].
type entry struct {
	address uint64
	name    uint32
	length  uint16
	module  uint16
	typ     byte
}

// LoadSymbols reads the symbols of this kernel from /proc/kallsyms. It takes some 100 ms, most of it in the kernel.
func LoadSymbols() (*Symbols, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's symbols: %w", err)
	}
	defer f.Close()
	s, err := ReadSymbols(f)
	if err != nil {
		return nil, fmt.Errorf("/proc/kallsyms: %w", err)
	}
	if value, err := os.ReadFile("/proc/sys/kernel/kptr_restrict"); err == nil {
		s.restrict = strings.TrimSpace(string(value))
	}
	return s, nil
}

// Len is how many symbols there are.
func (s *Symbols) Len() int { return len(s.entries) }

// Restricted is nil if addresses are known, else an error that wraps ErrRestricted and says how to get them. Names work
// either way.
func (s *Symbols) Restricted() error {
	for _, e := range s.entries {
		if e.address != 0 {
			return nil
		}
	}
	switch s.restrict {
	case "0", "1":
		return fmt.Errorf("%w: CAP_SYSLOG is missing (kptr_restrict is %s); run as root or grant CAP_SYSLOG", ErrRestricted, s.restrict)
	case "2":
		return fmt.Errorf("%w: /proc/sys/kernel/kptr_restrict is 2; write 1 there, as root", ErrRestricted)
	}
	return fmt.Errorf("%w: write 1 to /proc/sys/kernel/kptr_restrict, and run as root or with CAP_SYSLOG", ErrRestricted)
}

// All gives every symbol, in the order of their addresses.
func (s *Symbols) All() iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		for i := range s.entries {
			if !yield(s.symbol(i)) {
				return
			}
		}
	}
}

// Lookup gives all symbols of a name, which may be several: static functions of different files and modules share names.
// It is empty if there is none.
func (s *Symbols) Lookup(name string) []Symbol {
	s.once.Do(s.index)
	var found []Symbol
	for slot := s.slot(name); s.slots[slot] != 0; slot = s.next(slot) {
		if i := int(s.slots[slot] - 1); s.name(i) == name {
			found = append(found, s.symbol(i))
		}
	}
	return found
}

// LookupIn gives the symbols of a name in one module; "vmlinux" is the kernel itself, "" any.
func (s *Symbols) LookupIn(module, name string) []Symbol {
	return slices.DeleteFunc(s.Lookup(name), func(f Symbol) bool { return !f.in(module) })
}

func (s Symbol) in(module string) bool {
	return module == "" || s.Module == module || s.Module == "" && module == "vmlinux"
}

// Functions gives the functions of a name in a module ("" for any), or an error that wraps ErrNoSymbol and names what
// may have been meant.
func (s *Symbols) Functions(module, name string) ([]Symbol, error) {
	all := s.Lookup(name)
	functions := slices.DeleteFunc(slices.Clone(all), func(f Symbol) bool { return !f.in(module) || !f.Function() })
	if len(functions) > 0 {
		return functions, nil
	}
	for _, f := range all {
		if f.in(module) {
			return nil, fmt.Errorf("symbol %s: %w as a function: it is a variable", f, ErrNoSymbol)
		}
	}
	if len(all) > 0 {
		return nil, fmt.Errorf("symbol %s:%s: %w; did you mean %s?", module, name, ErrNoSymbol, qualified(all[0]))
	}
	full := name
	if module != "" {
		full = module + ":" + name
	}
	near := s.Nearest(name, 3)
	if bare, ok := strings.CutPrefix(name, "sys_"); ok && len(near) > 0 {
		near = append([]string{"syscall:" + bare}, near...)
	}
	if len(near) > 0 {
		return nil, fmt.Errorf("symbol %s: %w; did you mean %s?", full, ErrNoSymbol, strings.Join(near, " or "))
	}
	return nil, fmt.Errorf("symbol %s: %w", full, ErrNoSymbol)
}

// qualified names a symbol together with its module, even if that is the kernel.
func qualified(s Symbol) string {
	if s.Module == "" {
		return "vmlinux:" + s.Name
	}
	return s.String()
}

// padding are the prefixes of names that compilers give to the bytes before functions. They are no code.
var padding = []string{"__pfx_", "__cfi_"}

// isPadding says whether the name is one of padding.
func isPadding(name string) bool {
	return slices.ContainsFunc(padding, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Glob gives the functions that match a pattern (see MatchGlob) in a module ("" for any), in the order of their
// addresses. The padding before functions, which kernels list as if it were functions (__pfx_…), is left out.
func (s *Symbols) Glob(pattern, module string) []Symbol {
	prefix := pattern
	if i := strings.IndexAny(pattern, globCharacters); i >= 0 {
		prefix = pattern[:i]
	}
	var found []Symbol
	for i := range s.entries {
		if !isFunction(s.entries[i].typ) {
			continue
		}
		if name := s.name(i); strings.HasPrefix(name, prefix) && MatchGlob(pattern, name) && !isPadding(name) {
			if f := s.symbol(i); f.in(module) {
				found = append(found, f)
			}
		}
	}
	return found
}

// At gives the symbol that an address lies in, and how many bytes behind its start. Of several with one address it is a
// global function if there is one. ok is false if the address is in none, or in the lower half, where no kernel has
// code: what stands there in the list are offsets of per-CPU variables.
func (s *Symbols) At(address uint64) (symbol Symbol, offset uint64, ok bool) {
	behind := sort.Search(len(s.entries), func(i int) bool { return s.entries[i].address > address })
	if behind == 0 || address>>63 == 0 {
		return Symbol{}, 0, false
	}
	best := behind - 1
	for i := best; i >= 0 && s.entries[i].address == s.entries[best].address; i-- {
		if rank(s.entries[i].typ) >= rank(s.entries[best].typ) {
			best = i
		}
	}
	symbol = s.symbol(best)
	offset = address - symbol.Address
	return symbol, offset, symbol.Address>>63 != 0 && offset < symbol.Size
}

// rank orders symbols of one address: a function before a local one, that before data.
func rank(typ byte) int {
	switch typ {
	case 'T', 'W':
		return 2
	case 't', 'w':
		return 1
	}
	return 0
}

// Nearest gives at most n names that are close to one that does not exist, best first: the same with a suffix of the
// compiler's (.isra.0, .constprop.0) or the prefix of a system call, then those with few letters changed.
func (s *Symbols) Nearest(name string, n int) []string {
	var variants, candidates []string
	mask, limit := letters(name), typingErrors(name)
	for i := range s.entries {
		other := s.name(i)
		if !isFunction(s.entries[i].typ) || isPadding(other) {
			continue
		}
		if d := len(other) - len(name); d > 0 {
			if other[len(name)] == '.' && other[:len(name)] == name || strings.HasSuffix(other, name) && strings.HasPrefix(name, "sys_") {
				variants = append(variants, other)
				continue
			}
			if d > limit {
				continue
			}
		}
		if differ(mask, letters(other)) <= 2*limit {
			candidates = append(candidates, other)
		}
	}
	variants = slices.Compact(variants)
	if len(variants) < n {
		variants = append(variants, Nearest(name, candidates, n-len(variants))...)
	}
	return variants[:min(n, len(variants))]
}

// name gives the name of entry i.
func (s *Symbols) name(i int) string {
	e := &s.entries[i]
	return s.names[e.name : e.name+uint32(e.length)]
}

// gap is how far apart two symbols of one module can be and still be neighbours. Between the per-CPU symbols of x86,
// which begin at 0, and the kernel's text there is most of the address space.
const gap = 16 << 20

func (s *Symbols) symbol(i int) Symbol {
	e := s.entries[i]
	f := Symbol{Name: s.name(i), Module: s.modules[e.module], Address: e.address, Type: e.typ}
	if e.address == 0 {
		return f
	}
	f.Size = 4096 - e.address%4096
	next := i + 1
	for next < len(s.entries) && s.entries[next].address == e.address {
		next++
	}
	if next < len(s.entries) {
		if d := s.entries[next].address - e.address; s.entries[next].module == e.module && d <= gap || d < f.Size {
			f.Size = d
		}
	}
	return f
}

// index makes the table by name.
func (s *Symbols) index() {
	size := 16
	for size < 2*len(s.entries) {
		size *= 2
	}
	s.seed = maphash.MakeSeed()
	s.slots = make([]uint32, size)
	for i := range s.entries {
		slot := s.slot(s.name(i))
		for s.slots[slot] != 0 {
			slot = s.next(slot)
		}
		s.slots[slot] = uint32(i) + 1
	}
}

// slot is where the search for a name begins.
func (s *Symbols) slot(name string) int {
	return int(maphash.String(s.seed, name) & uint64(len(s.slots)-1))
}

func (s *Symbols) next(slot int) int { return (slot + 1) & (len(s.slots) - 1) }

// bytesAsString gives a string with these bytes without copying them. They must not change any more.
func bytesAsString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
