// SPDX-License-Identifier: Apache-2.0

package place

import (
	"fmt"
	"strings"

	"github.com/trapline/trapline/probes"
)

// uprobePlaces resolves functions of a program or library.
func uprobePlaces(spec *probes.Spec) ([]*Place, error) {
	path, err := findProgram(spec.Path)
	if err != nil {
		return nil, err
	}
	p, err := openProgram(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if spec.Kind != probes.KindEntry && p.isGo() {
		return nil, fmt.Errorf("%s is a Go program: its stacks move, and a return probe on one ends it; probe its entries, or instructions (SYMBOL+OFFSET)", path)
	}
	fs, err := p.readFunctions()
	if err != nil {
		return nil, err
	}
	if spec.Address != 0 {
		return addressPlace(p, fs, spec)
	}
	if !probes.IsGlob(spec.Symbol) {
		if err := fs.chosenAtRunTime(spec.Symbol); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	found := fs.match(spec.Symbol)
	if len(found) == 0 {
		return nil, noFunction(p, fs, spec.Symbol)
	}
	var list []*Place
	var refused error
	for _, fn := range found {
		if spec.Kind != probes.KindEntry {
			if err := p.checkReturn(fs, fn.address); err != nil {
				if !probes.IsGlob(spec.Symbol) {
					return nil, err
				}
				refused = err
				continue
			}
		}
		pl, err := p.functionPlace(spec, fn)
		if err != nil {
			return nil, err
		}
		if pl != nil {
			list = append(list, pl)
		}
	}
	switch {
	case len(list) == 0 && refused != nil:
		return nil, fmt.Errorf("no function that matches has a return that can be probed: %w", refused)
	case len(list) == 0:
		return nil, fmt.Errorf("%s: function %s is in no part of the file that is loaded", path, spec.Symbol)
	}
	return list, nil
}

// noFunction is the error for a name that no function has.
func noFunction(p *program, fs functions, name string) error {
	err := fmt.Errorf("%s has no function %s: %w", p.path, name, probes.ErrNoSymbol)
	if near := probes.Nearest(name, fs.names(), 3); len(near) > 0 {
		return fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
	}
	if len(fs) == 0 {
		return fmt.Errorf("%w: it is stripped", err)
	}
	return err
}

// functionPlace gives the place of a function, or of one of its instructions; nil if the file does not have its code.
func (p *program) functionPlace(spec *probes.Spec, fn function) (*Place, error) {
	if _, ok := p.fileOffset(fn.address); !ok {
		return nil, nil
	}
	name := fmt.Sprintf("uprobe:%s:%v", spec.Path, &fn)
	if spec.Offset != 0 {
		if fn.size != 0 && spec.Offset >= fn.size {
			return nil, fmt.Errorf("offset %#x lies behind the end of %s, which has %#x bytes", spec.Offset, fn.name, fn.size)
		}
		if err := p.checkInstruction(fn, spec.Offset); err != nil {
			return nil, err
		}
		name += fmt.Sprintf("+%#x", spec.Offset)
	}
	address := fn.address + spec.Offset
	offset, ok := p.fileOffset(address)
	if !ok || address < fn.address {
		return nil, fmt.Errorf("%s: %s+%#x is in no part of the file that holds code", p.path, fn.name, spec.Offset)
	}
	return &Place{Name: name, Path: p.path, Function: fn.name, FileOffset: offset, Stepped: stepsOver(p.codeAt(address, 2))}, nil
}

// addressPlace gives the place of an address.
func addressPlace(p *program, fs functions, spec *probes.Spec) ([]*Place, error) {
	offset, ok := p.fileOffset(spec.Address)
	if !ok {
		return nil, fmt.Errorf("%s: address %#x is in no part of the file that holds code", p.path, spec.Address)
	}
	// Package loader calibrates with a program that it makes itself, has no file system give it a name, and has no symbols.
	// Its addresses are right.
	if !strings.HasPrefix(spec.Path, "/proc/self/fd/") {
		fn, inside := fs.around(spec.Address)
		switch {
		case spec.Kind != probes.KindEntry && (!inside || fn.address != spec.Address):
			return nil, fmt.Errorf("%s: no function is known to begin at %#x: a return probe would put an address where the program may have something else", p.path, spec.Address)
		case spec.Kind != probes.KindEntry:
			if err := p.checkReturn(fs, spec.Address); err != nil {
				return nil, err
			}
		case inside && fn.address != spec.Address:
			if err := p.checkInstruction(fn, spec.Address-fn.address); err != nil {
				return nil, err
			}
		}
	}
	return []*Place{{
		Name: fmt.Sprintf("uprobe:%s:%#x", spec.Path, spec.Address), Path: p.path, FileOffset: offset,
		Stepped: stepsOver(p.codeAt(spec.Address, 2)),
	}}, nil
}
