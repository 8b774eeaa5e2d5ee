// SPDX-License-Identifier: Apache-2.0

package cpu

import (
	"os"
	"slices"
	"strings"
	"sync"
)

// Current describes this machine's CPU: what every hart has.
var Current = sync.OnceValue(func() Features {
	f := Features{Arch: "riscv64"}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return f // a restore then asks for nothing
	}
	first := true
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "mvendorid":
			f.Vendor = value
		case "isa":
			names := extensions(value)
			if first {
				f.Model, f.Names, first = value, names, false
				continue
			}
			f.Names = slices.DeleteFunc(f.Names, func(n string) bool { return !slices.Contains(names, n) })
		}
	}
	return f
})

// extensions are those of an ISA string ("rv64imafdc_zicsr_zba", sorted) that programs can use: not the hypervisor's and the
// supervisor's (h, s…).
func extensions(isa string) []string {
	base, multi, _ := strings.Cut(isa, "_")
	var names []string
	for _, letter := range strings.TrimPrefix(base, "rv64") {
		if letter != 'h' && letter != 's' && letter != 'u' {
			names = append(names, string(letter))
		}
	}
	for name := range strings.SplitSeq(multi, "_") {
		if name != "" && name[0] != 's' {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
