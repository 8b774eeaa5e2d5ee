// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Usable says whether this process can use eBPF on this kernel at all, and if not why.
var Usable = sync.OnceValue(func() error {
	err := loadKprobe(nil)
	switch {
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("eBPF: %w by this kernel (CONFIG_BPF_SYSCALL)", ErrNotSupported)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("eBPF: no right to load programs; run as root, or with CAP_BPF and CAP_PERFMON: %w", unix.EPERM)
	case err != nil:
		return fmt.Errorf("eBPF: %w", err)
	}
	if _, err := kernelTypes(); err != nil {
		return fmt.Errorf("eBPF: %w: the kernel has no BTF (CONFIG_DEBUG_INFO_BTF): %w", ErrNotSupported, err)
	}
	return nil
})
