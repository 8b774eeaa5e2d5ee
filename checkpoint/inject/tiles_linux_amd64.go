// SPDX-License-Identifier: Apache-2.0

package inject

import "encoding/binary"

// tiles is a way into a batch past the first use of an AMX tile:
//
//	ldtilecfg [rip+config]; tilezero tmm0; jmp batch
//
// followed, at the next multiple of 64, by a configuration of palette 1: one row of 64 bytes for tile 0.
const tilesOffset = 0xc00

// UseTiles lets the thread of a restore use an AMX tile, so that the kernel gives it an XSAVE area with room for tiles
// (arch/x86/kernel/fpu/xstate.c, on the #NM fault). The process must have the permission.
func (s *Session) UseTiles() error {
	var c [128]byte
	copy(c[:], "\xc4\xe2\x78\x49\x05") // ldtilecfg m512
	binary.LittleEndian.PutUint32(c[5:], 64-9)
	copy(c[9:], "\xc4\xe2\x7b\x49\xc0\xe9") // tilezero tmm0; jmp
	back := -(tilesOffset + 19 - blobBatch)
	binary.LittleEndian.PutUint32(c[15:], uint32(int32(back)))
	c[64] = 1                                    // palette
	binary.LittleEndian.PutUint16(c[64+16:], 64) // bytes a row
	c[64+48] = 1                                 // rows
	if err := s.WriteMem(s.code+tilesOffset, c[:]); err != nil {
		return err
	}
	s.entry = s.code + tilesOffset
	defer func() { s.entry = 0 }()
	b := s.NewBatch()
	b.Call(sysRestartSyscall) // one call, of no effect
	return s.Run(b)
}
