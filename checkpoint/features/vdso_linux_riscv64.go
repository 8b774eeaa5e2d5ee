// SPDX-License-Identifier: Apache-2.0

package features

import "github.com/trapline/trapline/internal/feature"

// mapVDSO: riscv64 kernels can't map the vDSO on request; it has to be moved.
func mapVDSO() error {
	return feature.Missing("riscv64 kernels have no ARCH_MAP_VDSO; the vDSO is moved instead")
}
