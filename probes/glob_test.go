// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"strings"
	"testing"
)

func TestMatchGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"vfs_*", "vfs_write", true},
		{"vfs_*", "kvfs_write", false},
		{"*write", "vfs_write", true},
		{"*write", "vfs_writev", false},
		{"*w*r*", "vfs_write", true},
		{"**", "abc", true},
		{"a*b*c", "aXbXbXc", true},
		{"a*b*c", "aXbXbX", false},
		{"vfs_?rite", "vfs_write", true},
		{"?", "", false},
		{"[a-c]x", "bx", true},
		{"[a-c]x", "dx", false},
		{"[!a-c]x", "dx", true},
		{"[^a-c]x", "ax", false},
		{"[]a]", "]", true},
		{"[!]]", "]", false},
		{"[a-]", "-", true},
		{"[a", "[a", true},
		{"[", "[", true},
		{"[!", "[!", true},
		{"[z-a]", "m", false},
		{"*[0-9]", "foo.isra.0", true},
		{strings.Repeat("*a", 200) + "b", strings.Repeat("a", 400), false}, // must not take exponential time
	} {
		if got := MatchGlob(c.pattern, c.name); got != c.want {
			t.Errorf("MatchGlob(%.40q, %.40q) = %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"vfs_write", "vfs_read", "vfs_writev", "ksys_write"}
	for typed, want := range map[string]string{
		"vfs_wirte": "vfs_write vfs_writev",
		"vfs_raed":  "vfs_read",
		"qqqqqqqqq": "",
		"vfs_write": "vfs_write vfs_writev",
	} {
		if got := strings.Join(Nearest(typed, names, 3), " "); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}
