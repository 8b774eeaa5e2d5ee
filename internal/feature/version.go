// SPDX-License-Identifier: Apache-2.0

package feature

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Version is a Linux version as far as features are concerned.
type Version struct {
	Major, Minor int
	Release      string // what uname says
}

// AtLeast says whether the version is that of since ("5.5") or a later one. An empty since is older than all.
func (v Version) AtLeast(since string) bool {
	w := ParseVersion(since)
	return v.Major > w.Major || v.Major == w.Major && v.Minor >= w.Minor
}

// ParseVersion reads the first two numbers of "6.18.5-cloud"; what can't be read is 0.
func ParseVersion(s string) Version {
	num := func(s string) int {
		end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			s = s[:end]
		}
		n, _ := strconv.Atoi(s)
		return n
	}
	major, rest, _ := strings.Cut(s, ".")
	return Version{Major: num(major), Minor: num(rest), Release: s}
}

// KernelVersion gives the version of the running kernel.
var KernelVersion = sync.OnceValues(func() (Version, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Version{}, fmt.Errorf("uname: %w", err)
	}
	return ParseVersion(unix.ByteSliceToString(u.Release[:])), nil
})

// ByVersion is the probe of what can't be tried without making a device or a mount.
func ByVersion(since string) func() error {
	return func() error {
		have, err := KernelVersion()
		if err != nil {
			return err
		}
		if !have.AtLeast(since) {
			return Missing("this is Linux %s", have.Release)
		}
		return nil
	}
}
