// SPDX-License-Identifier: Apache-2.0

package profile

import "encoding/binary"

// returnsIn gives the offsets of the return instructions in a function's code: jumps to ra that keep no address.
func returnsIn(code []byte) (offsets []uint64, err error) {
	const (
		ret           = 0x00008067 // jalr zero, 0(ra)
		compressedRet = 0x8082     // c.jr ra
	)
	for at := 0; at+2 <= len(code); {
		half := binary.LittleEndian.Uint16(code[at:])
		if half&3 != 3 {
			if half == compressedRet {
				offsets = append(offsets, uint64(at))
			}
			at += 2
			continue
		}
		if at+4 <= len(code) && binary.LittleEndian.Uint32(code[at:]) == ret {
			offsets = append(offsets, uint64(at))
		}
		at += 4
	}
	return offsets, nil
}

// behindStackCheck: here an entry is where a function begins, and is seen twice for a call whose stack has to grow.
const behindStackCheck = false

func stackCheck([]byte) uint64 { return 0 }
