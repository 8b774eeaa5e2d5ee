// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
)

// runVerify is a placeholder until the owner of checkpoint/image writes it.
func runVerify(_ []string, _, stderr io.Writer) int {
	fmt.Fprintln(stderr, "verify: not supported yet")
	return exitFailed
}
