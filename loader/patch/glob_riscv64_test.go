// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// A glob places what can be, and counts everywhere at once.
func TestGlob(t *testing.T) {
	began := time.Now()
	s, err := Open(t.Context(), spectest.Parse(t, "*_read*"), &Options{Filter: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	placed := len(s.Probes())
	t.Logf("%d probes, %d warnings, in %v", placed, len(s.Warnings()), time.Since(began))
	if placed < 300 || len(s.Warnings()) > placed/4 {
		t.Errorf("%d probes and %d warnings, the first: %v", placed, len(s.Warnings()), s.Warnings()[:min(len(s.Warnings()), 3)])
	}
	run(t, s, command("opens", "/dev/zero", "10"))
	hit := 0
	for _, r := range s.Read(nil) {
		if r.Stats.Count > 0 {
			hit++
		}
	}
	if hit < 3 {
		t.Errorf("%d functions were hit", hit)
	}
	began = time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed in %v", time.Since(began))
}

// A name that several functions have is all of them.
func TestAmbiguous(t *testing.T) {
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for f := range symbols.All() {
		if !f.Function() || !strings.HasSuffix(f.Name, "_show") {
			continue
		}
		addresses := map[uint64]bool{}
		for _, other := range symbols.Lookup(f.Name) {
			addresses[other.Address] = true
		}
		if len(addresses) < 2 {
			continue
		}
		s, err := Open(t.Context(), spectest.Parse(t, f.Name), nil)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		for _, p := range s.Probes() {
			if want := fmt.Sprintf("%s@%#x", f.Name, p.address()); p.Label() != want || !addresses[p.info.Address] {
				t.Errorf("%s is called %s, and lies at %#x", want, p.Label(), p.info.Address)
			}
			delete(addresses, p.info.Address)
		}
		if len(addresses) > 0 {
			t.Errorf("%s: not probed at %v: %v", f.Name, addresses, s.Warnings())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if tried++; tried == 3 {
			return
		}
	}
	if tried == 0 {
		t.Error("no name that several functions have")
	}
}
