// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/feature"
	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/probes"
)

// tried is a function that every kernel has, and that nothing forbids to probe.
const tried = "vfs_read"

// Usable says whether this kernel has the patch and this process may use it, and if not why. Errors wrap [ErrNotSupported] or
// unix.EPERM.
var Usable = sync.OnceValue(func() error {
	r := &request{attr: abi.Attr{Kind: abi.KindEntry, GroupFD: -1}, symbol: tried}
	fd, err := r.open()
	if err == nil {
		return unix.Close(fd)
	}
	refused, _ := errors.AsType[*refusal](err)
	switch refused.errno {
	case unix.ENOSYS:
		return fmt.Errorf("kernel patch: %w: %w", ErrNotSupported, err)
	case unix.EPERM:
		return fmt.Errorf("kernel patch: %w", err)
	case unix.EINVAL, unix.E2BIG, unix.EFAULT, unix.EBADF:
		return fmt.Errorf("kernel patch: system call %d is another one on this kernel, or of a version that this program does not know (%w): %w", abi.SysProbeOpen, refused.errno, ErrNotSupported)
	}
	return nil // what is wrong there is wrong with that function
})

// features are what this backend uses of a kernel.
var features = sync.OnceValue(func() []*feature.Feature {
	try := func(place string, opts *Options) func() error {
		return func() error {
			if Usable() != nil {
				return feature.Missing("the patch can't be used")
			}
			spec, err := probes.Parse(place)
			if err != nil {
				return err
			}
			s, err := Open(context.Background(), []*probes.Spec{spec}, opts)
			if err != nil {
				return feature.Missing("%v", err)
			}
			return s.Close()
		}
	}
	return []*feature.Feature{
		{
			Name: "patch", Level: feature.Extra, Needs: "a RISC-V kernel with Trapline's patch, CONFIG_TRAPLINE; root, or CAP_PERFMON; no lockdown",
			Use: "kernel functions without eBPF (docs/kernel-patch.md)", Probe: func() error {
				err := Usable()
				switch {
				case errors.Is(err, unix.ENOSYS):
					return feature.Missing("this kernel does not have it")
				case err != nil:
					return feature.Missing("%v", err)
				}
				return nil
			},
		},
		{
			Name: "patch_symbols", Level: feature.Extra, Needs: "CONFIG_KALLSYMS", Use: "the patch's probes by name",
			Probe: try(tried+"%entry", nil),
		},
		{
			Name: "patch_jump", Level: feature.Extra, Needs: "room for slots within 1 MiB of the kernel's text", Use: "the patch's probes without a trap",
			Probe: try(tried+"%latency", &Options{Only: MethodJump}),
		},
		{
			Name: "patch_stack", Level: feature.Extra, Needs: "CONFIG_FRAME_POINTER", Use: "call chains in the events of the patch's probes",
			Probe: try(tried+"%entry", &Options{Events: &EventOptions{Stack: true}}),
		},
	}
})

// Features gives what this backend uses of a kernel, each to be tested. The slice belongs to the caller.
func Features() []*feature.Feature { return append([]*feature.Feature(nil), features()...) }
