// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"flag"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/trapline/trapline/internal/vm"
)

var vmlinux = flag.String("vmlinux", "", "a RISC-V kernel's ELF `file`, in place of the one that make kernel builds")

var kernelText struct {
	once  sync.Once
	words []uint32
	err   error
}

// kernelWords are the distinct instructions of a built kernel's text, sorted.
func kernelWords(t *testing.T) []uint32 {
	t.Helper()
	if testing.Short() && *vmlinux == "" {
		t.Skip("-short: may have to build a kernel")
	}
	kernelText.once.Do(func() {
		path := *vmlinux
		if path == "" {
			kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{})
			if err != nil {
				kernelText.err = err
				return
			}
			path = filepath.Join(kernel.Boot, "vmlinux")
		}
		kernelText.words, kernelText.err = distinctWords(path)
	})
	if kernelText.err != nil {
		t.Fatal(kernelText.err)
	}
	return kernelText.words
}

// distinctWords goes through every function of an ELF file, from instruction to instruction.
func distinctWords(path string) ([]uint32, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(symbols, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	text := map[elf.SectionIndex][]byte{}
	seen := map[uint32]bool{}
	for _, symbol := range symbols {
		if elf.ST_TYPE(symbol.Info) != elf.STT_FUNC || int(symbol.Section) >= len(file.Sections) {
			continue
		}
		section := file.Sections[symbol.Section]
		if section.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		data, found := text[symbol.Section]
		if !found {
			if data, err = section.Data(); err != nil {
				return nil, err
			}
			text[symbol.Section] = data
		}
		start := symbol.Value - section.Addr
		if end := start + symbol.Size; end <= uint64(len(data)) {
			addWords(seen, data[start:end])
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

func addWords(seen map[uint32]bool, code []byte) {
	for len(code) >= 2 {
		word := uint32(binary.LittleEndian.Uint16(code))
		length := 2
		if !isCompressed(word) && len(code) >= 4 {
			word = binary.LittleEndian.Uint32(code)
			length = 4
		}
		seen[word] = true
		code = code[length:]
	}
}

// Every distinct instruction of a kernel is what binutils says it is, and nothing in it is unknown to the engine without a reason.
func TestEveryInstructionOfAKernel(t *testing.T) {
	words := kernelWords(t)
	records := classify(t, words)
	checkAll(t, words, records)
	var policies [3]int
	for _, record := range records {
		policies[record.Policy]++
		if !record.Known {
			t.Errorf("%v: in a kernel of RV64GC", record)
		}
	}
	t.Logf("%d distinct instructions: %d run in a slot, %d are simulated, %d rejected", len(words), policies[slot],
		policies[simulate], policies[reject])
	if len(words) < 50000 {
		t.Errorf("only %d distinct instructions: is this a kernel?", len(words))
	}
}
