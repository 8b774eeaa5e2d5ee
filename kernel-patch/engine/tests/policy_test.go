// SPDX-License-Identifier: Apache-2.0

package tests

import "strings"

// expectation is what the engine must say of an instruction, by the name that binutils has for it.
type expectation struct {
	policy policy
	flow   flow
	why    string // of a rejection
}

// expected has all instructions of RV64GC, by the manual's instruction set listings.
var expected = expectations()

func expectations() map[string]expectation {
	all := map[string]expectation{
		"auipc": {policy: simulate},
		"jal":   {policy: simulate, flow: flowCall},
		"jalr":  {policy: simulate, flow: flowCallReg},
		// With link register x0, see judge.
		"jal x0":  {policy: simulate, flow: flowJump},
		"jalr x0": {policy: slot, flow: flowJumpReg},
	}
	add := func(e expectation, names string) {
		for _, name := range strings.Fields(names) {
			all[name] = e
		}
	}
	add(expectation{policy: simulate, flow: flowBranch}, "beq bne blt bge bltu bgeu")
	add(expectation{policy: slot}, `
		lb lh lw ld lbu lhu lwu sb sh sw sd lui fence fence.tso pause
		addi slti sltiu xori ori andi slli srli srai addiw slliw srliw sraiw
		add sub sll slt sltu xor srl sra or and addw subw sllw srlw sraw
		mul mulh mulhsu mulhu div divu rem remu mulw divw divuw remw remuw
		fmv.x.w fmv.w.x fmv.x.d fmv.d.x fcvt.s.d fcvt.d.s`)
	for _, width := range []string{".w", ".d"} {
		for _, op := range strings.Fields("add swap xor or and min max minu maxu") {
			add(expectation{policy: slot}, "amo"+op+width)
		}
		add(expectation{policy: reject, why: "a trap between them drops the reservation"}, "lr"+width+" sc"+width)
	}
	for _, width := range []string{".s", ".d"} {
		for _, op := range strings.Fields(`fadd fsub fmul fdiv fsqrt fmin fmax fsgnj fsgnjn fsgnjx feq flt fle fclass
			fmadd fmsub fnmsub fnmadd`) {
			add(expectation{policy: slot}, op+width)
		}
		for _, integer := range []string{".w", ".wu", ".l", ".lu"} {
			add(expectation{policy: slot}, "fcvt"+integer+width+" fcvt"+width+integer)
		}
	}
	add(expectation{policy: slot}, "flw fld fsw fsd")
	add(expectation{policy: reject, why: "traps by itself"}, "ecall ebreak")
	add(expectation{policy: reject, why: "reads or writes what the hit's own trap changes"},
		"csrrw csrrs csrrc csrrwi csrrsi csrrci unimp") // unimp is csrrw x0, cycle, x0
	add(expectation{policy: reject, why: "is about the text behind it"}, "fence.i")
	add(expectation{policy: reject, why: "privileged"}, "sret mret wfi sfence.vma")
	return all
}

// drafts are what binutils takes for part of every processor, though they were only ever in drafts of the manual.
var drafts = map[string]bool{"hret": true, "uret": true, "sfence.vm": true}

// judge returns what must be said of an instruction. ok is false if it must be unknown.
func judge(d disassembled) (want expectation, ok bool) {
	if !d.known() {
		return expectation{}, false
	}
	d = d.expanded()
	name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(d.mnemonic, ".aqrl"), ".aq"), ".rl")
	if (name == "jal" || name == "jalr") && strings.HasPrefix(d.operands, "x0,") {
		name += " x0"
	}
	want, ok = expected[name]
	return want, ok
}
