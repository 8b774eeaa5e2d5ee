// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// refusal is an error that wraps [ErrNotSupported] without saying so: its text names a remedy, often an option, which the
// words "not supported" would contradict.
type refusal struct{ error }

func (r *refusal) Unwrap() []error { return []error{r.error, ErrNotSupported} }

// refuse makes a refusal of a text.
func refuse(format string, args ...any) error { return &refusal{fmt.Errorf(format, args...)} }

// prefixed puts the name of a process in front of an error, unless a package below has done it.
func prefixed(name string, err error) error {
	if strings.HasPrefix(err.Error(), name) {
		return err
	}
	return fmt.Errorf("%s%w", name, err)
}

// missingCapability explains why the kernel does not let us open /proc/PID/map_files, which needs a capability even of
// the process' owner (proc(5)).
func missingCapability(err error) error {
	if !errors.Is(err, os.ErrPermission) || hasCapability(unix.CAP_CHECKPOINT_RESTORE) || hasCapability(unix.CAP_SYS_ADMIN) {
		return err
	}
	return fmt.Errorf("%w; the capability CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN is missing (run it as root)", err)
}

// hasCapability tells whether a capability is in the effective set of this thread.
func hasCapability(c int) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return true // not known: say nothing about it
	}
	return data[c/32].Effective&(1<<(c%32)) != 0
}
