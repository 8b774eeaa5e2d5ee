// SPDX-License-Identifier: Apache-2.0

package vm

import "syscall"

// Freeze stops QEMU, as a guest that hangs looks from here.
func Freeze(g *Guest) { _ = g.qemu.cmd.Process.Signal(syscall.SIGSTOP) }

// What tests of the build look at.
type Options = options

func (o options) Add(text []byte)              { o.add(text) }
func (o options) Text() []byte                 { return o.text() }
func (o options) Missing(text []byte) []string { return o.missing(text) }

var (
	KeepTimes = keepTimes
	Prune     = prune
	QuoteLog  = quoteLog
)
