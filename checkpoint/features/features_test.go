// SPDX-License-Identifier: Apache-2.0

package features

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/feature"
)

// TestAgainstKernel fails if a feature reads as missing on a kernel that is new enough and has it without options:
// then the test of the feature is wrong.
func TestAgainstKernel(t *testing.T) {
	have, err := feature.KernelVersion()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range List() {
		t.Run(f.Name, func(t *testing.T) {
			err := f.Test()
			t.Logf("%v", err)
			if err == nil {
				if f.Since != "" && !have.AtLeast(f.Since) {
					t.Errorf("is there on Linux %s, but its version says %s", have.Release, f.Since)
				}
				return
			}
			if !errors.Is(err, ErrNotSupported) {
				t.Fatalf("could not be tested: %v", err)
			}
			if f.Since != "" && have.AtLeast(f.Since) && f.Needs == "" {
				t.Errorf("reads as missing on Linux %s although Linux %s brought it: %v", have.Release, f.Since, err)
			}
			if again := f.Test(); again != err {
				t.Errorf("a conclusive answer was not kept: first %v, then %v", err, again)
			}
		})
	}
}

// TestTable checks what a reader of the table relies on.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	level := Required
	for _, f := range List() {
		if seen[f.Name] {
			t.Errorf("%s is there twice", f.Name)
		}
		seen[f.Name] = true
		if f.Use == "" || f.Probe == nil {
			t.Errorf("%s: no use or no probe", f.Name)
		}
		if f.Level < level {
			t.Errorf("%s: level %v after %v", f.Name, f.Level, level)
		}
		level = f.Level
	}
	for _, name := range criuNames {
		if !seen[name] {
			t.Errorf("CRIU's feature %s is not in the table", name)
		}
	}
}

// criuNames are the features that criu check --feature of CRIU 4.1 knows (criu --help).
var criuNames = strings.Fields(`mnt_id mem_dirty_track aio_remap timerfd tun tun_ns userns fdinfo_lock seccomp_suspend
	seccomp_filters loginuid cgroupns autofs tcp_half_closed compat_cr uffd uffd-noncoop can_map_vdso sk_ns sk_unix_file
	net_diag_raw nsid link_nsid kcmp_epoll timens external_net_ns clone3_set_tid newifindex nftables has_ipt_legacy
	pidfd_store ns_pid apparmor_stacking network_lock_nftables sockopt_buf_lock memfd_hugetlb move_mount_set_group openat2
	get_rseq_conf ipv6_freebind pagemap_scan overlayfs_maps`)

// TestNotConclusive checks that only conclusive answers are kept.
func TestNotConclusive(t *testing.T) {
	calls := 0
	f := &Feature{Name: "flaky", Probe: func() error {
		calls++
		if calls == 1 {
			return errors.New("try again")
		}
		return nil
	}}
	if err := f.Test(); err == nil || errors.Is(err, ErrNotSupported) {
		t.Errorf("first test: %v, want an error that is not ErrNotSupported", err)
	}
	if err := f.Test(); err != nil {
		t.Errorf("second test: %v, want nil", err)
	}
	if f.Test(); calls != 2 {
		t.Errorf("%d calls, want 2: a conclusive answer is kept", calls)
	}
}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		have, since string
		want        bool
	}{
		{"6.18.5-cloud", "6.18", true},
		{"6.18", "6.19", false},
		{"6.9", "6.13", false},
		{"6.13", "6.9", true},
		{"10.0", "6.9", true},
		{"5.5.0", "5.5", true},
		{"4.19", "5.5", false},
		{"6.1", "", true},
		{"", "3.4", false},
	} {
		if got := feature.ParseVersion(c.have).AtLeast(c.since); got != c.want {
			t.Errorf("%q at least %q: %v, want %v", c.have, c.since, got, c.want)
		}
	}
}

// TestNoLeaks checks that no test leaves a descriptor or a child behind.
func TestNoLeaks(t *testing.T) {
	count := func() (fds, tasks int) {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		children, err := filepath.Glob("/proc/self/task/*/children")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range children {
			text, _ := os.ReadFile(name) // a thread may be gone
			tasks += len(strings.Fields(string(text)))
		}
		return len(names), tasks
	}
	for _, f := range List() {
		_ = f.Probe() // whatever the runtime keeps open for itself is open now
	}
	fds, tasks := count()
	for _, f := range List() {
		_ = f.Probe()
	}
	fds2, tasks2 := count()
	if fds2 > fds || tasks2 > tasks {
		t.Errorf("descriptors %d, then %d; children %d, then %d", fds, fds2, tasks, tasks2)
	}
}
