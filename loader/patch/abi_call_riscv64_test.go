// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/recipe"
)

// call is a call of probe_open with everything that it points to, to be spoilt.
type call struct {
	attr      abi.Attr
	behind    [4096]byte // the attr of a caller that knows more
	size      uintptr
	flags     uint32
	pointer   uintptr // to the attr; 0 is its own
	symbol    []byte
	fetches   [abi.FetchesMax + 1]abi.Fetch
	tests     [abi.TestsMax + 1]abi.Test
	constants [abi.StringsMax][abi.ConstantSize]byte
}

// nowhere is an address that no process has mapped.
const nowhere = 8

// validCall is one that the kernel takes: a probe of vfs_write.
func validCall() *call {
	c := &call{size: abi.AttrSizeVer0, symbol: []byte("vfs_write\x00")}
	c.attr = abi.Attr{Size: abi.AttrSizeVer0, Kind: abi.KindEntry, GroupFD: -1}
	for i := range c.fetches {
		c.fetches[i] = abi.Fetch{Base: uint8(recipe.BaseWord), Index: 12, Size: 8}
	}
	for i := range c.tests {
		c.tests[i] = abi.Test{Op: uint8(recipe.OpEqual)}
	}
	return c
}

// noSymbol has the address alone say where.
func (c *call) noSymbol() { c.symbol = nil }

// fetch has one fetch, and gives it to be spoilt.
func (c *call) fetch() *abi.Fetch {
	c.attr.FetchCount = max(c.attr.FetchCount, 1)
	return &c.fetches[c.attr.FetchCount-1]
}

// test has one test of one fetch, and gives it to be spoilt.
func (c *call) test() *abi.Test {
	c.fetch()
	c.attr.TestCount = 1
	return &c.tests[0]
}

// ofString makes the fetch one of a string.
func ofString(f *abi.Fetch) { f.Format, f.Derefs, f.Size = uint8(recipe.FormatString), 1, 1 }

// open makes the call. A pointer that is set already stays.
func (c *call) open() (int, unix.Errno) {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(c)
	point := func(to *uint64, p unsafe.Pointer) {
		if *to == 0 {
			*to = uint64(uintptr(p))
		}
	}
	if c.symbol != nil {
		pin.Pin(&c.symbol[0])
		point(&c.attr.Symbol, unsafe.Pointer(&c.symbol[0]))
	}
	if c.attr.FetchCount > 0 {
		point(&c.attr.Fetches, unsafe.Pointer(&c.fetches))
	}
	if c.attr.TestCount > 0 || c.attr.ReturnTestCount > 0 {
		point(&c.attr.Tests, unsafe.Pointer(&c.tests))
		point(&c.attr.Constants, unsafe.Pointer(&c.constants))
	}
	at := uintptr(unsafe.Pointer(&c.attr))
	if c.pointer != 0 {
		at = c.pointer
	}
	fd, _, errno := unix.Syscall(abi.SysProbeOpen, at, c.size, uintptr(c.flags))
	return int(fd), errno
}
