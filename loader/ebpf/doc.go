// SPDX-License-Identifier: Apache-2.0

// Package ebpf places probes with eBPF on a stock kernel and reads what they measure.
//
// A [Session] is a fixed set of probes. Opening one takes these steps, each a file of its own:
//
//	resolve   an expression becomes places: a glob or an ambiguous name is several
//	recipe    arguments and predicate become data for the programs' interpreter
//	objects   maps are made and programs loaded, with the session's constants
//	attach    each place by the cheapest means that this kernel allows
//
// Nothing counts before [Session.Enable]: then all places begin at once. What was counted lies in memory that the kernel
// shares with this process, so reading it takes no system call. Everything is held by descriptors: a loader that is
// killed leaves nothing behind.
package ebpf
