// SPDX-License-Identifier: Apache-2.0

package patch

import "testing"

func TestDisassemble(t *testing.T) {
	for instruction, want := range map[uint32]string{
		0x7175:     "addi sp,sp,-144",
		0x40c080e7: "jalr ra,1036(ra)",
		0:          "",
		0xffffffff: "",
	} {
		if got := disassemble(instruction); got != want {
			t.Errorf("%#x: %q, want %q", instruction, got, want)
		}
	}
}
