// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"runtime"
)

// A goProgram is a program whose functions can't have return probes: Go moves its stacks, and with them return addresses that are not
// its own. In their place the functions' return instructions are probed. Its functions are known by Go's own table, which a stripped
// program has too.
type goProgram struct {
	functions map[string]*gosym.Func
	text      *elf.Section
	code      []byte
}

// maxText is the largest text that is read, in bytes: far more than any Go program has.
const maxText = 1 << 30

// readGoProgram reads what is known of a Go program's functions; nil if it is no Go program.
func readGoProgram(path string) (*goProgram, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	table, text := f.Section(".gopclntab"), f.Section(".text")
	if table == nil {
		table = f.Section(".data.rel.ro.gopclntab")
	}
	if table == nil || text == nil {
		return nil, nil
	}
	if table.Size > maxText || text.Size > maxText {
		return nil, fmt.Errorf("%s: sections of %d and %d bytes are more than a program has", path, table.Size, text.Size)
	}
	lines, err := table.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: .gopclntab: %w", path, err)
	}
	code, err := text.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: .text: %w", path, err)
	}
	p := &goProgram{text: text, code: code}
	start, known := goText(f, lines)
	if !known {
		start = text.Addr
	}
	if p.functions, err = goFunctions(lines, start); err != nil {
		return nil, fmt.Errorf("%s: .gopclntab: %w", path, err)
	}
	// Without C code Go's text is the whole text, and Go's entry the program's. A probe at a place that is wrong by some bytes would
	// change an instruction in its middle.
	if entry := p.functions["_rt0_"+runtime.GOARCH+"_linux"]; !known && (entry == nil || entry.Entry != f.Entry) {
		return nil, fmt.Errorf("%s: where its Go functions begin can't be told: it is linked with C code and has no symbols; build it without -s, or with CGO_ENABLED=0", path)
	}
	return p, nil
}

// goText is the address that the table of functions counts from. A program that is linked with C code has that code before it.
func goText(f *elf.File, lines []byte) (uint64, bool) {
	symbols, _ := f.Symbols() // none: it is stripped
	for _, s := range symbols {
		if s.Name == "runtime.text" {
			return s.Value, true
		}
	}
	// Since Go 1.18 there is a place for it behind two counts in the table. Go 1.19 fills it in; Go 1.26 leaves it 0.
	const at = 8 + 2*8
	if len(lines) < at+8 || f.Class != elf.ELFCLASS64 {
		return 0, false
	}
	switch f.ByteOrder.Uint32(lines) {
	case 0xfffffff0, 0xfffffff1:
		start := f.ByteOrder.Uint64(lines[at:])
		return start, start != 0
	}
	return 0, false
}

// goFunctions are the functions of a table that counts from start, by name.
func goFunctions(lines []byte, start uint64) (map[string]*gosym.Func, error) {
	table, err := newGoTable(lines, start)
	if err != nil {
		return nil, err
	}
	functions := map[string]*gosym.Func{}
	for i := range table.Funcs {
		functions[table.Funcs[i].Name] = &table.Funcs[i]
	}
	return functions, nil
}

// newGoTable reads Go's table of functions. The standard library's reader panics at what is not one.
func newGoTable(lines []byte, text uint64) (t *gosym.Table, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("not Go's table of functions: %v", p)
		}
	}()
	return gosym.NewTable(nil, gosym.NewLineTable(lines, text))
}

// places gives the address where a function begins, behind its stack check if that is known, and those of its returns; ok is false if the program does not have it.
func (p *goProgram) places(name string) (entry uint64, returns []uint64, ok bool, err error) {
	f, ok := p.functions[name]
	if !ok {
		return 0, nil, false, nil
	}
	start, end := f.Entry-p.text.Addr, f.End-p.text.Addr
	if f.Entry < p.text.Addr || start >= end || end > uint64(len(p.code)) {
		return 0, nil, false, errors.New("the table of functions names what is not in the text of the program")
	}
	offsets, err := returnsIn(p.code[start:end])
	if err != nil {
		return 0, nil, false, err
	}
	for _, offset := range offsets {
		returns = append(returns, f.Entry+offset)
	}
	return f.Entry + stackCheck(p.code[start:end]), returns, true, nil
}
