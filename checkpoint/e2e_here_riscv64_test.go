// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

const (
	noInterpreter = "the guest has programs for riscv64 only, static ones: no interpreters and servers of Debian's"
	noCxx         = "there is no C++ cross compiler among the tools of this project"
)

// notHere says which scenarios and tests a riscv64 guest can't serve, and why.
var notHere = map[string]string{
	"cpu/segments": "x86 only: FS and GS bases",
	"cpu/amx":      "x86 only: AMX tiles",
}
