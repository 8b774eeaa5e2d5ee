// SPDX-License-Identifier: Apache-2.0

// Package faults holds tests that try to kill a kernel with the patch: a probe on every function, thousands of probes that come and
// go, loaders that are killed, and random system calls, each while processes, files, sockets and timers are busy and check
// their data.
//
// They run as root in RISC-V guests (package vm). TestGuest runs the short form; make stress the whole, STRESSTIME (10m) for each test that
// has no end of its own. After each test the kernel must have said nothing bad, its text must be byte for byte what it
// was, and a probe must count exactly.
//
// A guest that dies leaves its last notes in a directory of the host, which the failing test shows: the function that was probed,
// or the seed of the fuzzer. TRAPLINE_SEED=N gives all random choices another seed.
package faults
