// SPDX-License-Identifier: Apache-2.0

package place

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A program is an open file of code that this machine runs: a program or a library.
type program struct {
	*elf.File
	file *os.File
	path string
}

// Close closes the file.
func (p *program) Close() error { return p.file.Close() }

// openProgram opens a program or library. What is no regular file is not opened at all, or at least does not block: a
// FIFO waits for its writer, and a device may do something when it is opened.
func openProgram(path string) (*program, error) {
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, notRegular(path, st.Mode())
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	p, err := readProgram(file, path)
	if err != nil {
		file.Close()
		return nil, err
	}
	return p, nil
}

func notRegular(path string, mode os.FileMode) error {
	what := "no regular file"
	switch {
	case mode.IsDir():
		what = "a directory"
	case mode&os.ModeNamedPipe != 0:
		what = "a FIFO"
	case mode&os.ModeSocket != 0:
		what = "a socket"
	case mode&os.ModeDevice != 0:
		what = "a device"
	}
	return fmt.Errorf("%s is %s; a uprobe is placed in the file of a program or library", path, what)
}

func readProgram(file *os.File, path string) (*program, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, notRegular(path, st.Mode())
	}
	magic := make([]byte, len(elf.ELFMAG))
	n, err := file.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch magic = magic[:n]; {
	case bytes.HasPrefix(magic, []byte("#!")):
		return nil, fmt.Errorf("%s is a script, no ELF program or library; name its interpreter", path)
	case string(magic) != elf.ELFMAG:
		return nil, fmt.Errorf("%s is no ELF program or library", path)
	}
	f, err := elf.NewFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s can't be read as an ELF file: %w", path, err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != hostMachine {
		bits := "64-bit"
		if f.Class == elf.ELFCLASS32 {
			bits = "32-bit"
		}
		return nil, fmt.Errorf("%s is a %s program for %v; only 64-bit programs for %v can be probed here", path, bits, f.Machine, hostMachine)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return nil, fmt.Errorf("%s is an ELF file of type %v, no program or library", path, f.Type)
	}
	return &program{File: f, file: file, path: path}, nil
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
				// libc.so is a text for the linker, and other directories may hold libraries of other machines.
				if p, err := openProgram(path); err == nil {
					p.Close()
					return filepath.EvalSymlinks(path)
				}
			}
		}
	}
	return "", fmt.Errorf("%s is neither in PATH nor a library: %w; write its path", name, os.ErrNotExist)
}

// isGo says whether a program was made by Go's compiler.
func (p *program) isGo() bool {
	return p.Section(".gopclntab") != nil || p.Section(".note.go.buildid") != nil || p.Section(".go.buildinfo") != nil
}

// segment finds the part of the file that holds the code of an address.
func (p *program) segment(address uint64) *elf.Prog {
	for _, s := range p.Progs {
		if s.Type == elf.PT_LOAD && s.Flags&elf.PF_X != 0 && address >= s.Vaddr && address-s.Vaddr < s.Filesz {
			return s
		}
	}
	return nil
}

// fileOffset is where in the file the code of an address lies, which is how the kernel knows a uprobe.
func (p *program) fileOffset(address uint64) (uint64, bool) {
	s := p.segment(address)
	if s == nil {
		return 0, false
	}
	return address - s.Vaddr + s.Off, true
}

// codeAt gives at most n bytes of code at an address; none if the file has none there.
func (p *program) codeAt(address, n uint64) []byte {
	s := p.segment(address)
	if s == nil {
		return nil
	}
	// The size that the file claims for itself is not believed.
	code, err := io.ReadAll(io.NewSectionReader(s, int64(address-s.Vaddr), int64(min(n, s.Filesz-(address-s.Vaddr)))))
	if err != nil {
		return nil
	}
	return code
}
