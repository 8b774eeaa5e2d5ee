// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"strings"
	"testing"
)

func TestModules(t *testing.T) {
	kernel, err := Debian(t.Context(), "6.1")
	if err != nil {
		t.Fatal(err)
	}
	found, err := modules(t.Context(), kernel.Modules, []string{"virtiofs", "ext4"})
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, m := range found {
		at[m.name] = i
	}
	if len(at) < 4 || at["fuse"] > at["virtiofs"] || at["virtio"] > at["virtiofs"] || at["virtio_ring"] > at["virtiofs"] {
		t.Errorf("the order does not load: %v", at)
	}
	if _, builtin := at["ext4"]; builtin {
		t.Error("ext4 is built in and need not be loaded")
	}
	if _, err := modules(t.Context(), kernel.Modules, []string{"no_such_module"}); err == nil || !strings.Contains(err.Error(), "no_such_module") {
		t.Errorf("a module that is missing: %v", err)
	}
}
