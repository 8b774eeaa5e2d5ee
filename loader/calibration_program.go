// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// calibrationBase is the address that the program is loaded at.
const calibrationBase = 0x400000

// A loop is machine code that calls empty functions of its own and the system call getppid as often as a number in
// it says, and exits. Each architecture has one.
type loop struct {
	machine  elf.Machine
	code     []byte
	count    int // offset of the number, 4 bytes
	function int // offset of an empty function whose first instruction the kernel carries out itself
	stepped  int // offset of one whose first instruction it lets the processor step over, where that makes a difference
}

// calibrationProgram makes a static program of the loop in memory. It has no runtime that would do anything besides, so
// what differs between two runs of it is the probes. The caller closes the file.
func calibrationProgram(rounds uint32, stepped bool) (f *os.File, function uint64, err error) {
	l := calibrationLoop
	if len(l.code) == 0 {
		return nil, 0, fmt.Errorf("calibration: %w on this architecture", ErrNotSupported)
	}
	headers := binary.Size(elf.Header64{}) + binary.Size(elf.Prog64{})
	size := uint64(headers + len(l.code))
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(l.machine), Version: uint32(elf.EV_CURRENT), Entry: calibrationBase + uint64(headers),
		Phoff: uint64(binary.Size(elf.Header64{})), Ehsize: uint16(binary.Size(elf.Header64{})), Phentsize: uint16(binary.Size(elf.Prog64{})), Phnum: 1,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: calibrationBase, Paddr: calibrationBase,
		Filesz: size, Memsz: size, Align: 0x1000,
	}
	var b bytes.Buffer
	for _, part := range []any{header, segment} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return nil, 0, fmt.Errorf("calibration: %w", err)
		}
	}
	code := bytes.Clone(l.code)
	binary.LittleEndian.PutUint32(code[l.count:], rounds)
	b.Write(code)

	fd, err := unix.MemfdCreate("trapline-calibration", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, 0, fmt.Errorf("calibration: memfd_create: %w", err)
	}
	f = os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	if _, err := f.Write(b.Bytes()); err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("calibration: %w", err)
	}
	offset := l.function
	if stepped {
		offset = l.stepped
	}
	return f, calibrationBase + uint64(headers+offset), nil
}
