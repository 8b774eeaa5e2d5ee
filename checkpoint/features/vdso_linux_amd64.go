// SPDX-License-Identifier: Apache-2.0

package features

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/feature"
)

// archMapVDSO64 is ARCH_MAP_VDSO_64 of arch_prctl(2) (arch/x86/include/uapi/asm/prctl.h).
const archMapVDSO64 = 0x2003

// mapVDSO asks for a second vDSO, which a kernel that knows the request refuses with EEXIST.
func mapVDSO() error {
	_, _, errno := unix.Syscall(unix.SYS_ARCH_PRCTL, archMapVDSO64, 0, 0)
	if errno == 0 || errors.Is(errno, unix.EEXIST) {
		return nil
	}
	return feature.Unless("ARCH_MAP_VDSO_64", errno, unix.EINVAL)
}
