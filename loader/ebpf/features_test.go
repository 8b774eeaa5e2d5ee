// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"testing"

	"github.com/trapline/trapline/internal/feature"
)

// A feature that reads as missing on a kernel that is newer than the one that brought it is more likely an error of the
// test than of the kernel; but for what the kernel's configuration or lockdown may leave out.
func TestFeatures(t *testing.T) {
	version, err := feature.KernelVersion()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Features() {
		err := f.Test()
		t.Logf("%-16s %v", f.Name, err)
		if err != nil && f.Needs == "" && version.AtLeast(f.Since) {
			t.Errorf("%s: %v, but Linux %s has had it since %s", f.Name, err, version.Release, f.Since)
		}
		if err == nil && !version.AtLeast(f.Since) {
			t.Errorf("%s works on Linux %s, before %s: its table has the wrong version", f.Name, version.Release, f.Since)
		}
	}
}
