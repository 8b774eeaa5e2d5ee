// SPDX-License-Identifier: Apache-2.0

// Package vm boots Linux guests for tests and demonstrations and runs commands as root in them.
//
// A guest is QEMU with software emulation (no KVM is needed), a kernel as a distribution ships it or as it is built here for
// RISC-V, and the files of the host
// itself: the guest sees the host's root directory, so that every program and library, the Go tests and their testdata are
// where they are here. What the guest writes stays in its memory, but for the directories named in Config.Shared.
//
//	host                                       guest
//	vm.Start ── virtiofsd (/) ───────────────▶ overlay: host's / below, tmpfs above
//	        └── qemu ── virtio-serial ───────▶ agent: runs commands (package wire)
//	                └── serial port ◀───────── console: kernel messages, kept apart from the output of commands
//
// For a first look:
//
//	go run ./internal/vm/run -kernel 6.12 -- bpftrace -e 'kprobe:vfs_write { @[comm] = count(); } interval:s:3 { exit(); }'
//	make guest KERNEL=6.1 CMD='uname -a'
//
// and from a test:
//
//	kernel, err := vm.Debian(ctx, "6.1")
//	guest, err := vm.Start(ctx, vm.Config{Kernel: kernel})
//	defer guest.Close()
//	err = guest.Run(ctx, vm.Command{Args: []string{"uname", "-r"}, Stdout: &out})
//
// GoTest runs a package's own tests in a guest and reports them as subtests.
//
// # RISC-V
//
// BuiltKernel builds a small kernel for riscv64 from Debian's source package, with the patch of kernel-patch/linux and a
// configuration of kernel-patch/linux/configs. The first build takes minutes, and a later one only what has changed (ccache
// and the build's directory stay in the user's cache, below trapline). In its guests run programs for riscv64 only, so static
// ones: Go with CGO_ENABLED=0, C with -static. There is no shell.
//
//	make kernel                                          the small patched kernel of 6.12; prints its directory
//	make kernel KERNEL_SERIES=6.1 KERNEL_CONFIG=kprobes
//	go run ./internal/vm/run -kernel riscv64 -unpatched -build
//	CGO_ENABLED=0 GOARCH=riscv64 go build -o /tmp/hello ./hello
//	go run ./internal/vm/run -kernel riscv64 -- /tmp/hello
//	go run ./internal/vm/run -kernel riscv64-6.1 -config debug -v -- /tmp/hello
//	go run ./internal/vm/run -kernel riscv64 -icount -- /tmp/hello     one nanosecond an instruction, on one processor
//
// and from a test, whose package is compiled for riscv64:
//
//	kernel, err := vm.BuiltKernel(ctx, vm.BuildConfig{Config: "small"})
//	vm.GoTest(t.Context(), t, vm.TestRun{Guest: vm.Config{Kernel: kernel}, Run: "TestInGuest"})
//
// With Config.Clock CountInstructions, rdinstret counts exactly and the same in every run; take the least of several tries,
// because an interrupt adds to one.
//
// Root is needed. The host is Debian 12 or what has its qemu-system-x86 or qemu-system-misc, which bring virtiofsd; what a build
// of a kernel needs beside them, internal/ci/packages test installs.
package vm
