// SPDX-License-Identifier: Apache-2.0

// Package failing holds tests that fail in a guest in every way.
package failing

import (
	"fmt"
	"testing"
)

func TestPasses(*testing.T) {}

func TestFails(t *testing.T) {
	t.Run("inner", func(t *testing.T) { t.Error("the reason") })
}

func TestSkips(t *testing.T) { t.Skip("something is missing") }

func TestPanics(*testing.T) {
	fmt.Print("no newline at the end")
	panic("out of order")
}
