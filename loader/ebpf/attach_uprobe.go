// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/trapline/trapline/probes"
)

// uprobePlaces resolves functions of a program or library.
func uprobePlaces(spec *probes.Spec) ([]*Probe, error) {
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
		return []*Probe{{
			Name: fmt.Sprintf("uprobe:%s:%#x", spec.Path, spec.Address+spec.Offset), path: path, fileOffset: offset + spec.Offset,
			stepped: stepsOver(codeAt(f, spec.Address+spec.Offset)),
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
	var list []*Probe
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
		list = append(list, &Probe{
			Name: name, path: path, function: fn.Name, fileOffset: offset + spec.Offset, stepped: stepsOver(codeAt(f, fn.Value+spec.Offset)),
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

// attachUprobesMulti places the probes of one file through one link (two for latencies); Linux 6.6.
func (s *Session) attachUprobesMulti(list []*Probe, out map[*Probe]error) {
	type key struct {
		path string
		kind probes.Kind
	}
	groups := map[key][]*Probe{}
	for _, p := range list {
		k := key{p.path, p.Kind}
		groups[k] = append(groups[k], p)
	}
	for k, group := range groups {
		err := s.attachUprobeGroup(k.path, k.kind, group)
		for _, p := range group {
			out[p] = err
		}
	}
}

func (s *Session) attachUprobeGroup(path string, kind probes.Kind, group []*Probe) error {
	exe, err := link.OpenExecutable(path)
	if err != nil {
		return err
	}
	opts := &link.UprobeMultiOptions{}
	for _, p := range group {
		opts.Addresses = append(opts.Addresses, p.fileOffset)
		opts.Cookies = append(opts.Cookies, uint64(p.index))
	}
	var links []link.Link
	for _, h := range halves(kind) {
		var l link.Link
		prog, err := s.objects.load(h.program, variant{attachType: ebpf.AttachTraceUprobeMulti})
		if err == nil {
			attach := exe.UprobeMulti
			if h.ret {
				attach = exe.UretprobeMulti
			}
			l, err = attach(nil, prog, opts)
			prog.Close() // the link holds it
		}
		if err != nil {
			for _, l := range links {
				l.Close()
			}
			return err
		}
		links = append(links, l)
	}
	for _, l := range links {
		s.stack.pushLink(l.Close)
	}
	return nil
}

// attachUprobe places one probe by perf events.
func (s *Session) attachUprobe(p *Probe) error {
	exe, err := link.OpenExecutable(p.path)
	if err != nil {
		return err
	}
	var links []link.Link
	for _, h := range halves(p.Kind) {
		var l link.Link
		prog, err := s.objects.load(h.program, variant{})
		if err == nil {
			attach := exe.Uprobe
			if h.ret {
				attach = exe.Uretprobe
			}
			l, err = attach(p.function, prog, &link.UprobeOptions{Address: p.fileOffset, Cookie: uint64(p.index)})
			prog.Close()
		}
		if err != nil {
			for _, l := range links {
				l.Close()
			}
			return err
		}
		links = append(links, l)
	}
	for _, l := range links {
		s.stack.pushLink(l.Close)
	}
	return nil
}
