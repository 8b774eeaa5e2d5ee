// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
)

// runShow is a placeholder until the owner of checkpoint/image writes it.
func runShow(_ []string, _, stderr io.Writer) int {
	fmt.Fprintln(stderr, "show: not supported yet")
	return exitFailed
}
