// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

// What differs between architectures in the scenarios: see e2e_here_riscv64_test.go.
var (
	notHere   = map[string]string{"cpu/vector": "riscv64 only: the vector extension"}
	quickHere []string
	slowHere  []string
)

// killStep is of how many stage boundaries a short run takes one.
const killStep = 4
