// SPDX-License-Identifier: Apache-2.0

package tests

import "strings"

// stands are the 16-bit instructions in the words of the manual, "expands to": $0, $1 and $2 are their operands as binutils
// writes them.
var stands = map[string]string{
	"c.addi4spn": "addi $0,$1,$2",
	"c.fld":      "fld $0,$1",
	"c.lw":       "lw $0,$1",
	"c.ld":       "ld $0,$1",
	"c.fsd":      "fsd $0,$1",
	"c.sw":       "sw $0,$1",
	"c.sd":       "sd $0,$1",
	"c.nop":      "addi x0,x0,$0",
	"c.addi":     "addi $0,$0,$1",
	"c.addiw":    "addiw $0,$0,$1",
	"c.li":       "addi $0,x0,$1",
	"c.addi16sp": "addi $0,$0,$1",
	"c.lui":      "lui $0,$1",
	"c.srli":     "srli $0,$0,$1",
	"c.srli64":   "srli $0,$0,0x0",
	"c.srai":     "srai $0,$0,$1",
	"c.srai64":   "srai $0,$0,0x0",
	"c.andi":     "andi $0,$0,$1",
	"c.sub":      "sub $0,$0,$1",
	"c.xor":      "xor $0,$0,$1",
	"c.or":       "or $0,$0,$1",
	"c.and":      "and $0,$0,$1",
	"c.subw":     "subw $0,$0,$1",
	"c.addw":     "addw $0,$0,$1",
	"c.j":        "jal x0,$0",
	"c.beqz":     "beq $0,x0,$1",
	"c.bnez":     "bne $0,x0,$1",
	"c.slli":     "slli $0,$0,$1",
	"c.slli64":   "slli $0,$0,0x0",
	"c.fldsp":    "fld $0,$1",
	"c.lwsp":     "lw $0,$1",
	"c.ldsp":     "ld $0,$1",
	"c.jr":       "jalr x0,0($0)",
	"c.mv":       "add $0,x0,$1",
	"c.ebreak":   "ebreak ",
	"c.jalr":     "jalr x1,0($0)",
	"c.add":      "add $0,$0,$1",
	"c.fsdsp":    "fsd $0,$1",
	"c.swsp":     "sw $0,$1",
	"c.sdsp":     "sd $0,$1",
}

// expanded is the 32-bit instruction that a 16-bit one stands for; others are themselves.
func (d disassembled) expanded() disassembled {
	form, found := stands[d.mnemonic]
	if !found {
		return d
	}
	operands := strings.Split(d.operands, ",")
	replace := make([]string, 0, 6)
	for i, name := range []string{"$0", "$1", "$2"} {
		if i < len(operands) {
			replace = append(replace, name, operands[i])
		}
	}
	d.mnemonic, d.operands, _ = strings.Cut(strings.NewReplacer(replace...).Replace(form), " ")
	return d
}

func (d disassembled) String() string { return d.mnemonic + " " + d.operands }
