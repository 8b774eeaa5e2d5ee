// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// A FunctionSet is a set of the kernel's functions by name and module. The nil set is empty.
type FunctionSet struct {
	names map[function]struct{}
}

type function struct{ name, module string }

// Has says whether the symbol is in the set. Symbols that share name and module can't be told apart.
func (s *FunctionSet) Has(symbol Symbol) bool {
	if s == nil {
		return false
	}
	_, ok := s.names[function{symbol.Name, symbol.Module}]
	return ok
}

// Len is how many functions are in the set.
func (s *FunctionSet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.names)
}

// tracefs is where tracefs may be mounted; the second is from before Linux 4.1.
var tracefs = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

// AvailableFunctions gives the functions whose entry the kernel can hook through ftrace, which is what fentry,
// kprobe.multi and cheap kprobes need: tracefs' available_filter_functions. It needs root, and a kernel with
// CONFIG_DYNAMIC_FTRACE; without that file the error wraps fs.ErrNotExist.
func AvailableFunctions() (*FunctionSet, error) {
	return readFirst(tracefs, "/available_filter_functions", "is tracefs mounted, and ftrace in the kernel?", readAvailable)
}

// KprobeBlacklist gives the functions that the kernel refuses kprobes in: debugfs' kprobes/blacklist. It needs root; a
// kernel without kprobes gives an error that wraps fs.ErrNotExist, and one under lockdown may give fs.ErrPermission.
func KprobeBlacklist() (*FunctionSet, error) {
	return readFirst([]string{"/sys/kernel/debug/kprobes"}, "/blacklist", "is debugfs mounted, and are kprobes in the kernel?", readBlacklist)
}

// readFirst reads the file from the first directory that has it.
func readFirst(directories []string, file, question string, read func(io.Reader) (*FunctionSet, error)) (*FunctionSet, error) {
	for i, directory := range directories {
		f, err := os.Open(directory + file)
		if errors.Is(err, fs.ErrNotExist) && i+1 < len(directories) {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w; %s", err, question)
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		set, err := read(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", directory+file, err)
		}
		return set, nil
	}
	return nil, fs.ErrNotExist
}

// readAvailable reads lines of "NAME [MODULE]".
func readAvailable(r io.Reader) (*FunctionSet, error) {
	return readFunctions(r, func(line string) (function, bool) {
		name, rest, _ := strings.Cut(line, " ")
		// Weak functions that were overridden keep a place in the list under this name (since Linux 6.0).
		return function{name, module(rest)}, name != "" && !strings.HasPrefix(name, "__ftrace_invalid_address___")
	})
}

// readBlacklist reads lines of "0xSTART-0xEND<tab>NAME [MODULE]".
func readBlacklist(r io.Reader) (*FunctionSet, error) {
	return readFunctions(r, func(line string) (function, bool) {
		_, rest, _ := strings.Cut(line, "\t")
		name, rest, _ := strings.Cut(rest, " ")
		return function{name, module(rest)}, name != ""
	})
}

// module takes the brackets off a module's name.
func module(s string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "["), "]")
}

func readFunctions(r io.Reader, parse func(string) (function, bool)) (*FunctionSet, error) {
	s := &FunctionSet{names: map[function]struct{}{}}
	lines := bufio.NewScanner(io.LimitReader(r, maxSymbolBytes))
	lines.Buffer(make([]byte, 0, 64<<10), 64<<10)
	for lines.Scan() {
		if f, ok := parse(lines.Text()); ok {
			if len(s.names) == maxSymbols {
				return nil, fmt.Errorf("more than %d functions", maxSymbols)
			}
			s.names[f] = struct{}{}
		}
	}
	return s, lines.Err()
}
