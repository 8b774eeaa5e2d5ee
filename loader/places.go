// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// A PlaceError says why a place can't be probed, and what comes nearest. Errors of [Open] and its warnings about places wrap it.
type PlaceError = place.Error

// Places gives the places of an expression without trying to place anything there: they have no Ways and no
// Prototype. A glob's are those that the kernel says can be probed.
func Places(spec *probes.Spec) ([]Place, error) {
	found, err := place.NewKernel().Resolve(spec)
	if err != nil {
		return nil, err
	}
	list := make([]Place, 0, len(found))
	for _, p := range found {
		list = append(list, Place{Name: p.Name, Symbol: p.Symbol.Name, Module: p.Symbol.Module, Address: p.Address()})
	}
	return list, nil
}
