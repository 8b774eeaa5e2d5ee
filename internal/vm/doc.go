// SPDX-License-Identifier: Apache-2.0

// Package vm boots Linux guests for tests and demonstrations and runs commands as root in them.
//
// A guest is QEMU with software emulation (no KVM is needed), a kernel as a distribution ships it, and the files of the host
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
// Root is needed. The host is Debian 12 or what has its qemu-system-x86, which brings virtiofsd.
package vm
