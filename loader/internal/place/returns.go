// SPDX-License-Identifier: Apache-2.0

package place

import (
	"fmt"
	"strings"

	"github.com/trapline/trapline/probes"
)

// unreturnable are functions, by their names without leading underscores, whose return can't be probed, and why. A return
// probe replaces the return address on the stack, or in its register, at the entry, and the new one is good for a single
// return on that stack. Patterns are globs.
var unreturnable = []struct {
	names string
	why   string
}{
	{"setjmp sigsetjmp vfork getcontext swapcontext setcontext start_context jump_fcontext", "returns more than once, or on another stack"},
	{"longjmp siglongjmp longjmp_chk libc_longjmp libc_siglongjmp", "does not return to where it was called"},
	{"Unwind_* cxa_throw cxa_rethrow morestack*", "follows the return addresses on the stack"},
	{"dl_start_user restore_rt kernel_rt_sigreturn", "is not called: there is no return address on the stack"},
	{"dl_runtime_resolve* dl_runtime_profile* dl_tlsdesc_*", "is entered by the dynamic linker with other things on the stack"},
	{"mcount fentry x86_indirect_thunk_* x86_return_thunk llvm_retpoline_* riscv_save_* riscv_restore_*", "is no call of its own, but a part of others"},
}

// partOf are patterns of names that compilers give parts of functions. These are jumped to.
var partOf = []string{"*.cold", "*.cold.*", "*.cold_*", "*.__part.*", "OUTLINED_FUNCTION_*"}

// noReturn says why a return probe at a name would harm the program; "" if it would not.
func noReturn(name string) string {
	for _, pattern := range partOf {
		if probes.MatchGlob(pattern, name) {
			return "is a part of a function, and is jumped to, not called"
		}
	}
	bare := strings.TrimLeft(name, "_")
	for _, u := range unreturnable {
		for pattern := range strings.FieldsSeq(u.names) {
			if probes.MatchGlob(pattern, bare) {
				return u.why
			}
		}
	}
	return ""
}

// checkReturn says whether the return of the function at an address can be probed. The same code may have several names:
// _setjmp is another one's alias.
func (p *program) checkReturn(fs functions, address uint64) error {
	if address == p.Entry && p.Entry != 0 {
		return fmt.Errorf("%s: %#x is where the program begins, not a function that is called: it has no return", p.path, address)
	}
	for _, f := range fs.at(address) {
		if why := noReturn(f.name); why != "" {
			return fmt.Errorf("%s: the return of %s can't be probed: it %s; probe its entry", p.path, f.name, why)
		}
	}
	return nil
}
