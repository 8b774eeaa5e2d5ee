// SPDX-License-Identifier: Apache-2.0

//go:build !riscv64

package patch

import (
	"errors"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/feature"
	"github.com/trapline/trapline/probes"
)

// On a kernel without the patch the error says so, and what there is to do.
func TestWithoutPatch(t *testing.T) {
	if Usable() == nil {
		t.Skip("this kernel has the patch")
	}
	spec, err := probes.Parse("vfs_read")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), []*probes.Spec{spec}, nil)
	if !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "does not have Trapline's patch") || !strings.Contains(err.Error(), "docs/kernel-patch.md") {
		t.Errorf("Open: %v; want that the patch is not there, and where to read on", err)
	}
	for _, f := range Features() {
		if err := f.Test(); !errors.Is(err, feature.ErrNotSupported) {
			t.Errorf("feature %s: %v; want that it is not supported", f.Name, err)
		}
	}
}
