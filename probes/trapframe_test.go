// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"runtime"
	"testing"
)

// numberedFrame has in each word of struct pt_regs 1000 and the word's index, in each word of the stack 2000 and its index.
func numberedFrame(a *Arch) *Trapframe {
	regs, stack := make([]uint64, a.Words()), make([]uint64, 4)
	for i := range regs {
		regs[i] = 1000 + uint64(i)
	}
	for i := range stack {
		stack[i] = 2000 + uint64(i)
	}
	return NewTrapframe(a, regs, stack)
}

// TestTrapframe gives for each architecture the word of struct pt_regs that every value must come from, as the kernel's
// headers have it.
func TestTrapframe(t *testing.T) {
	for _, c := range []struct {
		arch                         *Arch
		words, regs, pc, sp, ret, ra int
		args, syscallArgs            []int
		names                        map[string]int // names of registers and their words
	}{
		{
			AMD64, 21, 18, 16, 19, 10, -1,
			[]int{14, 13, 12, 11, 9, 8},
			[]int{14, 13, 12, 7, 9, 8},
			map[string]int{"ax": 10, "rax": 10, "eax": 10, "r15": 0, "rsp": 19, "orig_ax": 15, "flags": 18, "ss": 20, "cs": 17, "pc": 16, "bp": 4},
		},
		{
			ARM64, 35, 32, 32, 31, 0, 30,
			[]int{0, 1, 2, 3, 4, 5, 6, 7},
			[]int{34, 1, 2, 3, 4, 5},
			map[string]int{"x0": 0, "x30": 30, "lr": 30, "fp": 29, "sp": 31, "pc": 32, "pstate": 33, "orig_x0": 34},
		},
		{
			RISCV64, 36, 32, 0, 2, 10, 1,
			[]int{10, 11, 12, 13, 14, 15, 16, 17},
			[]int{35, 11, 12, 13, 14, 15},
			map[string]int{"epc": 0, "pc": 0, "x1": 1, "ra": 1, "x10": 10, "a0": 10, "fp": 8, "s0": 8, "x31": 31, "t6": 31, "cause": 34, "orig_a0": 35},
		},
	} {
		a := c.arch
		f := numberedFrame(a)
		check := func(what string, got uint64, word int) {
			t.Helper()
			if got != 1000+uint64(word) {
				t.Errorf("%s: %s is %d, want word %d", a, what, got, word)
			}
		}
		if a.Words() != c.words || a.NumRegs() != c.regs || f.NumRegs() != c.regs {
			t.Errorf("%s: %d words and %d registers, want %d and %d", a, a.Words(), a.NumRegs(), c.words, c.regs)
		}
		check("PC", f.PC(), c.pc)
		check("SP", f.SP(), c.sp)
		check("Ret", f.Ret(), c.ret)
		if c.ra >= 0 {
			check("RA", f.RA(), c.ra)
		} else if f.RA() != 2000 {
			t.Errorf("%s: RA is %d, want the top of the stack", a, f.RA())
		}
		for i, word := range c.args {
			check("an argument", f.Arg(i), word)
		}
		first := uint64(2000)
		if c.ra < 0 {
			first++
		}
		if got := f.Arg(len(c.args)); got != first {
			t.Errorf("%s: the first argument on the stack is %d, want %d", a, got, first)
		}
		if f.Arg(-1) != 0 || f.Arg(100) != 0 || f.SyscallArg(6) != 0 || f.SyscallArg(-1) != 0 {
			t.Errorf("%s: an argument that does not exist is not 0", a)
		}
		for i, word := range c.syscallArgs {
			check("an argument of a system call", f.SyscallArg(i), word)
		}
		for name, word := range c.names {
			if got, ok := a.Word(name); !ok || got != word {
				t.Errorf("%s: %s is word %d, %v; want %d", a, name, got, ok, word)
			}
		}
		for n := range a.NumRegs() {
			name := f.Name(n)
			if got, ok := f.RegByName(name); !ok || got != n {
				t.Errorf("%s: register %d is %q, which is register %d, %v", a, n, name, got, ok)
			}
			f.SetReg(n, uint64(n)+5)
			want := uint64(n) + 5
			if a.Zero(name) {
				want = 0
			} else if word, ok := a.Word(name); !ok || a.WordName(word) != name {
				t.Errorf("%s: %q has no word of its own", a, name)
			}
			if got := f.Reg(n); got != want {
				t.Errorf("%s: register %d (%s) set to %d reads %d", a, n, name, n+5, got)
			}
		}
		f.SetPC(77)
		f.SetRA(88)
		f.SetReg(-1, 1)
		f.SetReg(a.NumRegs(), 1)
		if f.PC() != 77 || f.RA() != 88 || f.Reg(-1) != 0 || f.Reg(1000) != 0 || f.Name(-1) != "" || f.Name(1000) != "" {
			t.Errorf("%s: PC %d, RA %d; want 77 and 88, and nothing of registers that don't exist", a, f.PC(), f.RA())
		}
		if _, ok := a.RegByName("nonsense"); ok {
			t.Errorf("%s has a register nonsense", a)
		}
		if _, ok := a.Word("nonsense"); ok {
			t.Errorf("%s has a word nonsense", a)
		}
		if ArchByName(a.String()) != a {
			t.Errorf("%s is not found by its name", a)
		}
	}
}

func TestTrapframeShort(t *testing.T) {
	for _, a := range arches {
		f := NewTrapframe(a, nil, nil)
		f.SetRA(5)
		if f.PC() != 0 || f.Arg(0) != 0 || f.Arg(9) != 0 || a == AMD64 && f.RA() != 0 {
			t.Errorf("%s: words that are missing are not 0", a)
		}
	}
}

func TestTrapframeZeroRegister(t *testing.T) {
	f := numberedFrame(RISCV64)
	for _, name := range []string{"zero", "x0"} {
		n, ok := f.RegByName(name)
		f.SetReg(n, 99)
		if !ok || n != 0 || f.Reg(0) != 0 || f.PC() != 1000 || !RISCV64.Zero(name) {
			t.Errorf("%s is register %d, %v, reads %d, and PC is %d", name, n, ok, f.Reg(n), f.PC())
		}
		if _, ok := RISCV64.Word(name); ok {
			t.Errorf("%s has a word", name)
		}
	}
	if AMD64.Zero("ax") || ARM64.Zero("zero") {
		t.Error("only RISC-V has a register that is always 0")
	}
}

func TestHostArch(t *testing.T) {
	if a := HostArch(); a == nil || a.String() != runtime.GOARCH {
		t.Errorf("got %v on %s", a, runtime.GOARCH)
	}
}
