// SPDX-License-Identifier: Apache-2.0

package place

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/trapline/trapline/probes"
)

// uprobePlaces resolves functions of a program or library.
func uprobePlaces(spec *probes.Spec) ([]*Place, error) {
	path, err := findProgram(spec.Path)
	if err != nil {
		return nil, err
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	if spec.Kind != probes.KindEntry && isGo(f) {
		return nil, fmt.Errorf("%s is a Go program: its stacks move, and a return probe on one ends it; probe its entries, or instructions (SYMBOL+OFFSET)", path)
	}
	if spec.Address != 0 {
		offset, ok := fileOffset(f, spec.Address)
		if !ok {
			return nil, fmt.Errorf("%s: address %#x is in no part of the file that holds code", path, spec.Address)
		}
		return []*Place{{
			Name: fmt.Sprintf("uprobe:%s:%#x", spec.Path, spec.Address+spec.Offset), Path: path, FileOffset: offset + spec.Offset,
			Stepped: stepsOver(codeAt(f, spec.Address+spec.Offset)),
		}}, nil
	}
	functions, names, err := programFunctions(f, spec.Symbol)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(functions) == 0 {
		err := fmt.Errorf("%s has no function %s: %w", path, spec.Symbol, probes.ErrNoSymbol)
		if near := probes.Nearest(spec.Symbol, names, 3); len(near) > 0 {
			return nil, fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("%w: it is stripped", err)
		}
		return nil, err
	}
	var list []*Place
	for _, fn := range functions {
		if spec.Offset != 0 && fn.Size != 0 && spec.Offset >= fn.Size {
			return nil, fmt.Errorf("offset %#x lies behind the end of %s, which has %#x bytes", spec.Offset, fn.Name, fn.Size)
		}
		offset, ok := fileOffset(f, fn.Value)
		if !ok {
			continue
		}
		name := fmt.Sprintf("uprobe:%s:%s", spec.Path, fn.Name)
		if spec.Offset != 0 {
			name += fmt.Sprintf("+%#x", spec.Offset)
		}
		list = append(list, &Place{
			Name: name, Path: path, Function: fn.Name, FileOffset: offset + spec.Offset, Stepped: stepsOver(codeAt(f, fn.Value+spec.Offset)),
		})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: function %s is in no part of the file that is loaded", path, spec.Symbol)
	}
	return list, nil
}

// findProgram finds a program by name in PATH, or a library in the usual directories. A path with a slash stays.
func findProgram(name string) (string, error) {
	if strings.Contains(name, "/") {
		if _, err := os.Stat(name); err != nil {
			return "", err
		}
		if path, err := filepath.EvalSymlinks(name); err == nil {
			return path, nil
		}
		return name, nil // a link of /proc to a file that has no name
	}
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	for _, pattern := range []string{"/lib/*-linux-gnu/", "/usr/lib/*-linux-gnu/", "/lib64/", "/usr/lib64/", "/lib/", "/usr/lib/"} {
		for _, suffix := range []string{"", ".so.[0-9]*", ".so"} {
			found, _ := filepath.Glob(pattern + name + suffix)
			for _, path := range found {
				// libc.so is a text for the linker.
				if f, err := elf.Open(path); err == nil {
					f.Close()
					return filepath.EvalSymlinks(path)
				}
			}
		}
	}
	return "", fmt.Errorf("%s is neither in PATH nor a library: %w; write its path", name, os.ErrNotExist)
}

// isGo says whether a program was made by Go's compiler.
func isGo(f *elf.File) bool {
	return f.Section(".gopclntab") != nil || f.Section(".note.go.buildid") != nil || f.Section(".go.buildinfo") != nil
}

// programFunctions gives the functions that match, one for each address, and the names of all.
func programFunctions(f *elf.File, pattern string) (found []elf.Symbol, names []string, err error) {
	seen := map[uint64]bool{}
	for _, read := range []func() ([]elf.Symbol, error){f.Symbols, f.DynamicSymbols} {
		list, err := read()
		if errors.Is(err, elf.ErrNoSymbols) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		for _, s := range list {
			typ := elf.ST_TYPE(s.Info)
			if typ != elf.STT_FUNC && typ != elf.STT_GNU_IFUNC || s.Section == elf.SHN_UNDEF || s.Value == 0 {
				continue
			}
			names = append(names, s.Name)
			if typ == elf.STT_FUNC && !seen[s.Value] && (s.Name == pattern || probes.IsGlob(pattern) && probes.MatchGlob(pattern, s.Name)) {
				seen[s.Value] = true
				found = append(found, s)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b elf.Symbol) int { return strings.Compare(a.Name, b.Name) })
	return found, names, nil
}

// fileOffset is where in the file the code of an address lies, which is how the kernel knows a uprobe.
func fileOffset(f *elf.File, address uint64) (uint64, bool) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && address >= p.Vaddr && address-p.Vaddr < p.Filesz {
			return address - p.Vaddr + p.Off, true
		}
	}
	return 0, false
}

// codeAt gives the first bytes of code at an address; none if the file has none there.
func codeAt(f *elf.File, address uint64) []byte {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && address >= p.Vaddr && address-p.Vaddr < p.Filesz {
			code := make([]byte, min(2, p.Filesz-(address-p.Vaddr)))
			if _, err := p.ReadAt(code, int64(address-p.Vaddr)); err != nil {
				return nil
			}
			return code
		}
	}
	return nil
}
