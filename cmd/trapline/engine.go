// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/trapline/trapline/checkpoint"
)

// The engine, in variables so that tests of the command line can put something else in its place.
var (
	engineDump    = checkpoint.Dump
	engineRestore = checkpoint.Restore
)
