// SPDX-License-Identifier: Apache-2.0

// Package patch places probes through the system call probe_open, which kernels with Trapline's patch have: small RISC-V ones
// without eBPF, kprobes, ftrace and perf. kernel-patch/include/trapline.h defines the call.
//
// A [Session] is a fixed set of probes, a descriptor each, all of one group: they share the page with the context, the ring
// of events and the filter of tasks. Opening one takes these steps:
//
//	places    an expression becomes places: a glob or an ambiguous name is several, a system call the function that serves it
//	recipe    arguments and predicate become data (package recipe), and that the call's structs (wire.go)
//	call      probe_open for each; the kernel says how it would place the probe, or why it can't
//
// Nothing counts before [Session.Enable]: then all places begin by one change of the kernel's text. Everything is held by the
// descriptors: a loader that is killed leaves nothing behind.
package patch

import "github.com/trapline/trapline/loader/internal/place"

// ErrNotSupported is wrapped by errors about what this kernel can't do.
var ErrNotSupported = place.ErrNotSupported
