// SPDX-License-Identifier: Apache-2.0

// Package spectest parses the probe expressions of tests.
package spectest

import (
	"testing"

	"github.com/trapline/trapline/probes"
)

// Parse parses expressions that are right.
func Parse(t testing.TB, texts ...string) []*probes.Spec {
	t.Helper()
	var specs []*probes.Spec
	for _, text := range texts {
		spec, err := probes.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, spec)
	}
	return specs
}
