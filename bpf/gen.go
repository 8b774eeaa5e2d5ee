// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the eBPF programs that measure, compiled, and the types that they exchange with package loader/ebpf.
// The sources are in C beside this file; make generate compiles them.
package bpf

//go:generate go tool bpf2go -go-package bpf -cc clang -cflags "-O2 -g -Wall -Werror -mcpu=v3" -target amd64,arm64,riscv64 -type event -type base -type format -type test_op -type event_kind -type fetch -type test Trace trace.bpf.c
