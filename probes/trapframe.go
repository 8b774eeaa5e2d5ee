// SPDX-License-Identifier: Apache-2.0

package probes

import "runtime"

// An Arch is how one architecture keeps registers at a trap: the words of the kernel's struct pt_regs, their names, and
// what the calling conventions use them for. There are AMD64, ARM64 and RISCV64; nothing in one can be changed.
type Arch struct {
	name        string
	words       []string          // the names of the words of struct pt_regs, in their order
	numbered    []string          // the registers by number; "" is one that is always 0
	aliases     map[string]string // other names
	args        []string          // parameters of kernel functions
	syscallArgs []string
	ret         string
	sp          string
	pc          string
	ra          string // "" if the return address is on the stack
	stackArgs   int    // where on the stack, in words, the first parameter is that no register has room for
	index       map[string]int
}

// arches are the architectures by Go's names.
var arches = map[string]*Arch{AMD64.name: AMD64, ARM64.name: ARM64, RISCV64.name: RISCV64}

// HostArch is the architecture that this program was built for; nil if it is not one of ours.
func HostArch() *Arch { return arches[runtime.GOARCH] }

// ArchByName gives an architecture by Go's name: amd64, arm64, riscv64; nil if it is not one of ours.
func ArchByName(name string) *Arch { return arches[name] }

// build completes an Arch by its index of names.
func (a Arch) build() *Arch {
	a.index = make(map[string]int, len(a.words)+len(a.aliases))
	for i, word := range a.words {
		a.index[word] = i
	}
	for alias, word := range a.aliases {
		if i, ok := a.index[word]; ok {
			a.index[alias] = i
		}
	}
	return &a
}

// String gives Go's name of the architecture.
func (a *Arch) String() string { return a.name }

// Words is how many 64-bit words of struct pt_regs are known.
func (a *Arch) Words() int { return len(a.words) }

// WordName gives the name of a word of struct pt_regs; i must be in [0, Words).
func (a *Arch) WordName(i int) string { return a.words[i] }

// Word gives the index in struct pt_regs, in 64-bit words, of a register by any of its names. ok is false if there is no
// such register, or if it is the one that is always 0 (RISC-V's x0), which no word holds.
func (a *Arch) Word(name string) (index int, ok bool) {
	index, ok = a.index[name]
	return index, ok
}

// Zero says whether the name is that of a register which is always 0.
func (a *Arch) Zero(name string) bool {
	n, ok := a.RegByName(name)
	return ok && a.numbered[n] == ""
}

// ArgWord gives the index in struct pt_regs of parameter i of a kernel function, counted from 0; ok is false if it is
// not in a register.
func (a *Arch) ArgWord(i int) (index int, ok bool) { return a.listed(a.args, i) }

// SyscallArgWord gives the index in struct pt_regs of parameter i of a system call, counted from 0, as it was at the
// entry; ok is false if there is none.
func (a *Arch) SyscallArgWord(i int) (index int, ok bool) { return a.listed(a.syscallArgs, i) }

func (a *Arch) listed(list []string, i int) (int, bool) {
	if i < 0 || i >= len(list) {
		return 0, false
	}
	return a.Word(list[i])
}

// RetWord gives the index in struct pt_regs of the return value.
func (a *Arch) RetWord() int { return a.index[a.ret] }

// SPWord gives the index in struct pt_regs of the stack pointer.
func (a *Arch) SPWord() int { return a.index[a.sp] }

// PCWord gives the index in struct pt_regs of the instruction pointer.
func (a *Arch) PCWord() int { return a.index[a.pc] }

// NumRegs is how many registers have a number. Which they are says each architecture's variable.
func (a *Arch) NumRegs() int { return len(a.numbered) }

// RegName gives the name of register n, or "" if there is none.
func (a *Arch) RegName(n int) string {
	if n < 0 || n >= len(a.numbered) {
		return ""
	}
	if a.numbered[n] == "" {
		return "zero"
	}
	return a.numbered[n]
}

// RegByName gives the number of a register by any of its names.
func (a *Arch) RegByName(name string) (n int, ok bool) {
	word, known := a.index[name]
	for n, main := range a.numbered {
		if known && main != "" && a.index[main] == word || main == "" && (name == "zero" || a.aliases[name] == "zero") {
			return n, true
		}
	}
	return 0, false
}

// A Trapframe is the registers at a hit, the same for every architecture.
type Trapframe struct {
	arch  *Arch
	regs  []uint64 // struct pt_regs
	stack []uint64 // what lies at the stack pointer
}

// NewTrapframe makes one of the words of struct pt_regs and those that lie at the stack pointer; it copies both. Words
// that are missing read as 0.
func NewTrapframe(a *Arch, regs, stack []uint64) *Trapframe {
	t := &Trapframe{arch: a, regs: make([]uint64, a.Words()), stack: append([]uint64(nil), stack...)}
	copy(t.regs, regs)
	return t
}

// Arch is the architecture that the registers are of.
func (t *Trapframe) Arch() *Arch { return t.arch }

// PC is the instruction pointer.
func (t *Trapframe) PC() uint64 { return t.regs[t.arch.PCWord()] }

// SetPC sets the instruction pointer.
func (t *Trapframe) SetPC(v uint64) { t.regs[t.arch.PCWord()] = v }

// SP is the stack pointer.
func (t *Trapframe) SP() uint64 { return t.regs[t.arch.SPWord()] }

// RA is the address that the function returns to. On x86 that is the word at the stack's top, which is right at a
// function's entry only, and 0 if no word of the stack is known.
func (t *Trapframe) RA() uint64 {
	if ra := t.ra(); ra != nil {
		return *ra
	}
	return 0
}

// SetRA sets the address that the function returns to. On x86 it is lost if no word of the stack is known.
func (t *Trapframe) SetRA(v uint64) {
	if ra := t.ra(); ra != nil {
		*ra = v
	}
}

// ra is where the return address is kept; nil if it is not known.
func (t *Trapframe) ra() *uint64 {
	if t.arch.ra != "" {
		return &t.regs[t.arch.index[t.arch.ra]]
	}
	if len(t.stack) > 0 {
		return &t.stack[0]
	}
	return nil
}

// Arg is parameter i of a kernel function, counted from 0; right at the function's entry. Those that no register has
// room for come from the stack, and are 0 if that is not known so far.
func (t *Trapframe) Arg(i int) uint64 {
	if word, ok := t.arch.ArgWord(i); ok {
		return t.regs[word]
	}
	at := i - len(t.arch.args) + t.arch.stackArgs
	if i < 0 || at >= len(t.stack) {
		return 0
	}
	return t.stack[at]
}

// SyscallArg is parameter i of a system call, counted from 0, if these are the registers of its entry; 0 if there is no
// such parameter.
func (t *Trapframe) SyscallArg(i int) uint64 {
	if word, ok := t.arch.SyscallArgWord(i); ok {
		return t.regs[word]
	}
	return 0
}

// Ret is the return value; right at a function's return.
func (t *Trapframe) Ret() uint64 { return t.regs[t.arch.RetWord()] }

// NumRegs is how many registers have a number.
func (t *Trapframe) NumRegs() int { return t.arch.NumRegs() }

// Name gives the name of register n, or "" if there is none.
func (t *Trapframe) Name(n int) string { return t.arch.RegName(n) }

// RegByName gives the number of a register by any of its names.
func (t *Trapframe) RegByName(name string) (n int, ok bool) { return t.arch.RegByName(name) }

// Reg gives register n; 0 if there is none, and always of RISC-V's x0.
func (t *Trapframe) Reg(n int) uint64 {
	if word := t.word(n); word >= 0 {
		return t.regs[word]
	}
	return 0
}

// SetReg sets register n. It does nothing if there is none, or if it is RISC-V's x0.
func (t *Trapframe) SetReg(n int, v uint64) {
	if word := t.word(n); word >= 0 {
		t.regs[word] = v
	}
}

// word is the index in struct pt_regs of register n, or -1.
func (t *Trapframe) word(n int) int {
	if n < 0 || n >= len(t.arch.numbered) || t.arch.numbered[n] == "" {
		return -1
	}
	return t.arch.index[t.arch.numbered[n]]
}

// Stack gives the words that lie at the stack pointer, as many as were recorded. They must not be changed.
func (t *Trapframe) Stack() []uint64 { return t.stack }
