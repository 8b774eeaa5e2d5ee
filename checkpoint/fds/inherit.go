// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"golang.org/x/sys/unix"
)

// inherited looks whether a descriptor of the engine takes the place of an open file (--inherit-fd), and duplicates it.
func (s *Set) inherited(e *fdinfo.FileEntry) (fd int, ok bool, err error) {
	if len(s.opts.Inherit) == 0 {
		return -1, false, nil
	}
	name := resourceName(e)
	given, ok := s.opts.Inherit[name]
	if !ok {
		return -1, false, nil
	}
	// What is opened here need not be the same open file as what the caller holds, but it is for pipes and sockets,
	// which can't be opened again with other flags.
	fd, err = unix.FcntlInt(uintptr(given), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, false, fmt.Errorf("inherited descriptor %d for %s: %w", given, name, err)
	}
	return fd, true, nil
}

// resourceName is how criu-restore's --inherit-fd names an object.
func resourceName(e *fdinfo.FileEntry) string {
	switch {
	case e.GetPipe() != nil:
		return fmt.Sprintf("pipe[%d]", e.GetPipe().GetPipeId())
	case e.GetUsk() != nil:
		return fmt.Sprintf("socket[%d]", e.GetUsk().GetIno())
	case e.GetIsk() != nil:
		return fmt.Sprintf("socket[%d]", e.GetIsk().GetIno())
	case e.GetReg() != nil:
		return strings.TrimPrefix(e.GetReg().GetName(), "/")
	}
	return ""
}
