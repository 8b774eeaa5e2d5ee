// SPDX-License-Identifier: Apache-2.0

package cpu

import (
	"encoding/binary"
	"fmt"

	core_x86 "github.com/checkpoint-restore/go-criu/v8/crit/images/core-x86"
	"google.golang.org/protobuf/proto"
)

// Numbers of the state components that CRIU's images have fields for.
const (
	xAVX     = 2
	xBNDRegs = 3
	xBNDCSR  = 4
	xOpmask  = 5
	xZMMHi   = 6
	xHi16ZMM = 7
	xPKRU    = 9
	xCETUser = 11

	legacySize = 512
	headerEnd  = 576
)

// criuComponents are all components that the image can express, x87 and SSE among them.
const criuComponents = 1<<0 | 1<<1 | 1<<xAVX | 1<<xBNDRegs | 1<<xBNDCSR | 1<<xOpmask | 1<<xZMMHi | 1<<xHi16ZMM | 1<<xPKRU | 1<<xCETUser

// XStateBV returns which components of an XSAVE area are not in their initial state.
func XStateBV(area []byte) uint64 {
	if len(area) < headerEnd {
		return 0
	}
	return binary.LittleEndian.Uint64(area[legacySize:])
}

// Lossy says whether the area holds state that CRIU's image has no field for, such as AMX tiles.
func Lossy(area []byte) bool { return XStateBV(area)&^criuComponents != 0 }

// EncodeFP turns an XSAVE area, as NT_X86_XSTATE gives it on this machine, into CRIU's form.
func EncodeFP(area []byte) (*core_x86.UserX86FpregsEntry, error) {
	if len(area) < headerEnd {
		return nil, fmt.Errorf("%w: XSAVE area of %d bytes", ErrFormat, len(area))
	}
	le := binary.LittleEndian
	e := &core_x86.UserX86FpregsEntry{
		Cwd: proto.Uint32(uint32(le.Uint16(area[0:]))), Swd: proto.Uint32(uint32(le.Uint16(area[2:]))),
		Twd: proto.Uint32(uint32(le.Uint16(area[4:]))), Fop: proto.Uint32(uint32(le.Uint16(area[6:]))),
		Rip: proto.Uint64(le.Uint64(area[8:])), Rdp: proto.Uint64(le.Uint64(area[16:])),
		Mxcsr: proto.Uint32(le.Uint32(area[24:])), MxcsrMask: proto.Uint32(le.Uint32(area[28:])),
		StSpace: words32(area[32:160]), XmmSpace: words32(area[160:416]),
	}
	x := &core_x86.UserX86XsaveEntry{XstateBv: proto.Uint64(XStateBV(area))}
	for i, c := range layout() {
		if int(c.off+c.size) > len(area) {
			continue
		}
		b := area[c.off : c.off+c.size]
		switch i {
		case xAVX:
			x.YmmhSpace = words32(b[:256])
		case xBNDRegs:
			x.BndregState = words64(b[:64])
		case xBNDCSR:
			x.BndcsrState = words64(b[:16])
		case xOpmask:
			x.OpmaskReg = words64(b[:64])
		case xZMMHi:
			x.ZmmUpper = words64(b[:512])
		case xHi16ZMM:
			x.Hi16Zmm = words64(b[:1024])
		case xPKRU:
			x.Pkru = words32(b[:8])
		case xCETUser:
			x.Cet = &core_x86.UserX86CetEntry{Cet: proto.Uint64(le.Uint64(b[0:])), Ssp: proto.Uint64(le.Uint64(b[8:]))}
		}
	}
	e.Xsave = x
	return e, nil
}

// DecodeFP turns CRIU's form into an XSAVE area of this machine, of as many bytes as NT_X86_XSTATE wants. It fails with
// [ErrMissing] for state of a component that this CPU lacks, and with [ErrFormat] for an impossible image.
func DecodeFP(e *core_x86.UserX86FpregsEntry) ([]byte, error) {
	f := Current()
	area := make([]byte, max(f.XSaveSize, headerEnd))
	le := binary.LittleEndian
	le.PutUint16(area[0:], uint16(e.GetCwd()))
	le.PutUint16(area[2:], uint16(e.GetSwd()))
	le.PutUint16(area[4:], uint16(e.GetTwd()))
	le.PutUint16(area[6:], uint16(e.GetFop()))
	le.PutUint64(area[8:], e.GetRip())
	le.PutUint64(area[16:], e.GetRdp())
	le.PutUint32(area[24:], e.GetMxcsr())
	le.PutUint32(area[28:], e.GetMxcsrMask())
	if len(e.GetStSpace()) > 32 || len(e.GetXmmSpace()) > 64 {
		return nil, fmt.Errorf("%w: %d x87 words, %d SSE words", ErrFormat, len(e.GetStSpace()), len(e.GetXmmSpace()))
	}
	put32(area[32:160], e.GetStSpace())
	put32(area[160:416], e.GetXmmSpace())
	le.PutUint64(area[464:], f.XCR0)
	x := e.GetXsave()
	if x == nil {
		le.PutUint64(area[legacySize:], 3)
		return area, nil
	}
	bv := x.GetXstateBv()
	if bv&^f.XCR0 != 0 && bv&^f.XCR0 != 1<<xCETUser {
		return nil, fmt.Errorf("register state of components %#x, this CPU has %#x: %w", bv, f.XCR0, ErrMissing)
	}
	le.PutUint64(area[legacySize:], bv&f.XCR0)
	for _, p := range []struct {
		i   int
		w32 []uint32
		w64 []uint64
	}{
		{xAVX, x.GetYmmhSpace(), nil},
		{xBNDRegs, nil, x.GetBndregState()},
		{xBNDCSR, nil, x.GetBndcsrState()},
		{xOpmask, nil, x.GetOpmaskReg()},
		{xZMMHi, nil, x.GetZmmUpper()},
		{xHi16ZMM, nil, x.GetHi16Zmm()},
		{xPKRU, x.GetPkru(), nil},
	} {
		if len(p.w32) == 0 && len(p.w64) == 0 {
			continue
		}
		c, ok := layout()[p.i]
		if !ok || int(c.off+c.size) > len(area) {
			if bv>>p.i&1 != 0 {
				return nil, fmt.Errorf("register state of component %d: %w", p.i, ErrMissing)
			}
			continue
		}
		if 4*len(p.w32)+8*len(p.w64) > int(c.size) {
			return nil, fmt.Errorf("%w: component %d is too long", ErrFormat, p.i)
		}
		b := area[c.off : c.off+c.size]
		put32(b, p.w32)
		for k, v := range p.w64 {
			le.PutUint64(b[8*k:], v)
		}
	}
	return area, nil
}

func words32(b []byte) []uint32 {
	w := make([]uint32, len(b)/4)
	for i := range w {
		w[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return w
}

func words64(b []byte) []uint64 {
	w := make([]uint64, len(b)/8)
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return w
}

func put32(b []byte, w []uint32) {
	for i, v := range w {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
}
