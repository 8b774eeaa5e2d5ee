// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"fmt"
	"maps"
	"slices"
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
	if !ok || name == "" {
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

// inheritKeys brings the resources that the caller named into the form of [resourceName], and warns of those that are
// not in the images: a typing error would otherwise show as a pipe that has lost its other end.
func (s *Set) inheritKeys() {
	if len(s.opts.Inherit) == 0 {
		return
	}
	have := map[string]bool{}
	for _, e := range s.files {
		have[resourceName(e)] = true
	}
	keys := make(map[string]int, len(s.opts.Inherit))
	for _, given := range slices.Sorted(maps.Keys(s.opts.Inherit)) {
		key := resourceKey(given)
		if !have[key] && s.opts.Log != nil {
			s.opts.Log.Warn("--inherit-fd: nothing in the images has this name, the descriptor is not used",
				"fd", s.opts.Inherit[given], "name", given)
		}
		keys[key] = s.opts.Inherit[given]
	}
	s.opts.Inherit = keys
}

// resourceKey gives the one form of a resource that can be written in two: CRIU 4 and runc name pipes and sockets as
// the links of /proc/PID/fd do ("pipe:[123]"), criu(8) without the colon.
func resourceKey(given string) string {
	for _, kind := range []string{"pipe", "socket"} {
		if rest, ok := strings.CutPrefix(given, kind+"["); ok {
			return kind + ":[" + rest
		}
	}
	return strings.TrimPrefix(given, "/")
}

// resourceName is how CRIU's --inherit-fd names an object; empty: it can't be handed in.
func resourceName(e *fdinfo.FileEntry) string {
	switch {
	case e.GetPipe() != nil:
		return fmt.Sprintf("pipe:[%d]", e.GetPipe().GetPipeId())
	case e.GetUsk() != nil:
		return fmt.Sprintf("socket:[%d]", e.GetUsk().GetIno())
	case e.GetIsk() != nil:
		return fmt.Sprintf("socket:[%d]", e.GetIsk().GetIno())
	case e.GetReg() != nil:
		return strings.TrimPrefix(e.GetReg().GetName(), "/")
	}
	return ""
}
