// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// inside is an offset in vfs_write at which no instruction begins.
func inside(t *testing.T) uint64 {
	t.Helper()
	for offset := uint64(2); offset < 100; offset += 2 {
		c := validCall()
		c.attr.Offset = offset
		fd, errno := c.open()
		if errno == unix.EILSEQ {
			return offset
		}
		if errno == 0 {
			unix.Close(fd)
		}
	}
	t.Fatal("vfs_write has no instruction of 4 bytes")
	return 0
}

// What can't be probed is refused with its name, the reason, and what comes nearest.
func TestRefused(t *testing.T) {
	in := inside(t)
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	write := symbols.Lookup("vfs_write")[0].Address
	for _, c := range []struct {
		text    string
		is      error
		says    string
		instead string // one of them; "" for none that matters
	}{
		{"no_such_function_at_all", probes.ErrNoSymbol, "not found", ""},
		{"vfs_raed", probes.ErrNoSymbol, "did you mean vfs_read", ""},
		{"no_such_functions_*", probes.ErrNoSymbol, "no function that can be probed", ""},
		{"jiffies", probes.ErrNoSymbol, "variable", ""},
		{"vfs_write+0x100000", nil, "lies behind the end of vfs_write", ""},
		{fmt.Sprintf("vfs_write+%#x", in), unix.EILSEQ, fmt.Sprintf("begins at vfs_write+%#x", in-2), fmt.Sprintf("vfs_write+%#x", in-2)},
		{"vfs_write+1", unix.EILSEQ, "no instruction begins there", ""},
		{fmt.Sprintf("%#x%%latency", write+4), nil, "only the begin of a function", ""},
		{"0x1000", nil, "in no function", ""},
		{"handle_exception", unix.EACCES, "trap and entry path", ""},
		{"ct_nmi_enter", unix.EACCES, "noinstr", ""},
		{"probe_hit", unix.EACCES, "belongs to the probes themselves", ""},
		{"multi_cpu_stop", unix.EACCES, "text is changed", ""},
		{"fentry:vfs_read", ErrNotSupported, "by backend patch", "vfs_read%entry"},
		{"tracepoint:syscalls:sys_enter_read", ErrNotSupported, "tracepoints", "syscall:read%entry"},
		{"tracepoint:sched:sched_switch", ErrNotSupported, "tracepoints", ""},
		{"rawtp:sched_switch", ErrNotSupported, "by backend patch", ""},
		{"uprobe:/proc/self/exe:main.main", ErrNotSupported, "by backend patch", ""},
		{"syscall:no_such_call", probes.ErrNoSymbol, "no_such_call", ""},
		{"vfs_write x=%status", ErrNotSupported, "status", ""},
	} {
		_, err := Open(t.Context(), spectest.Parse(t, c.text), nil)
		e, ok := errors.AsType[*place.Error](err)
		if !ok || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %v, and that it says %q", c.text, err, c.is, c.says)
			continue
		}
		if c.instead != "" && !slices.Contains(e.Instead, c.instead) {
			t.Errorf("%s: what works instead is %q; want %q", c.text, e.Instead, c.instead)
		}
		for _, text := range e.Instead {
			spec, err := probes.Parse(text)
			if err != nil {
				t.Errorf("%s: instead %s: %v", c.text, text, err)
				continue
			}
			placed, failed, err := Try(t.Context(), spec)
			if err != nil || len(placed) == 0 || len(failed) > 0 {
				t.Errorf("%s: instead %s does not work: %d placed, %d not: %v", c.text, text, len(placed), len(failed), err)
			}
		}
	}
}

// One bad place does not keep the others from being placed, unless that is asked for.
func TestWarnings(t *testing.T) {
	texts := []string{"vfs_write", "handle_exception", "no_such_function_at_all", "vfs_read"}
	s, err := Open(t.Context(), spectest.Parse(t, texts...), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Probes()) != 2 || len(s.Warnings()) != 2 {
		t.Errorf("%d probes and %d warnings, want 2 and 2: %v", len(s.Probes()), len(s.Warnings()), s.Warnings())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), spectest.Parse(t, texts...), &Options{Strict: true}); !errors.Is(err, probes.ErrNoSymbol) {
		t.Errorf("strict: %v", err)
	}
}

// By address, and by system call, the same functions are probed as by name.
func TestPlaces(t *testing.T) {
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	write := symbols.Lookup("vfs_write")[0].Address
	for _, text := range []string{"vfs_write", "kprobe:vfs_write", fmt.Sprintf("%#x", write), "vmlinux:vfs_write"} {
		placed, failed, err := Try(t.Context(), spectest.Parse(t, text)[0])
		if err != nil || len(placed) != 1 || len(failed) != 0 || placed[0].info.Address != write || placed[0].Detail() == "" {
			t.Errorf("%s: %d placed, %d not: %v", text, len(placed), len(failed), err)
		}
	}
	for _, call := range []string{"read", "openat", "newfstatat", "getppid", "uname", "clone", "execve", "exit_group", "mmap", "rt_sigaction"} {
		placed, failed, err := Try(t.Context(), spectest.Parse(t, "syscall:"+call)[0])
		if err != nil || len(placed) != 1 {
			t.Errorf("syscall:%s: %d placed: %v", call, len(placed), err)
			for _, p := range failed {
				t.Error(p.Err())
			}
		}
	}
	placed, _, err := Try(t.Context(), spectest.Parse(t, "syscall:*")[0])
	if err != nil || len(placed) < 150 {
		t.Errorf("syscall:*: %d placed: %v", len(placed), err)
	}
}

func TestFeatures(t *testing.T) {
	for _, f := range Features() {
		if err := f.Test(); err != nil && f.Name != "patch_stack" { // small kernels have no frame pointers
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}
