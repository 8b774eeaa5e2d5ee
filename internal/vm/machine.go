// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"slices"
	"strconv"

	"github.com/trapline/trapline/internal/vm/wire"
)

// Machine is what differs between the machines that QEMU can be: a new architecture is a new value.
type Machine struct {
	// QEMU is the emulator, looked up in PATH.
	QEMU string
	// Package is the Debian package that has it, for messages.
	Package string
	// GOARCH is what the guest's init is compiled for.
	GOARCH string
	// Args choose the machine and its processor.
	Args []string
	// Console is the kernel's name of the first serial port.
	Console string
	// Cmdline is what the machine's kernels are told.
	Cmdline []string
	// SerialBus and FileSystem are QEMU's devices for virtio-serial and vhost-user-fs.
	SerialBus, FileSystem string
	// Modules are the kernel's modules for these devices, for virtio-fs and for overlayfs; what is built in is left out.
	Modules []string
}

// PC is an x86-64 machine.
func PC() *Machine {
	return &Machine{
		QEMU:       "qemu-system-x86_64",
		Package:    "qemu-system-x86",
		GOARCH:     "amd64",
		Args:       []string{"-machine", "pc,memory-backend=ram,hpet=off", "-cpu", "max"},
		Console:    "ttyS0",
		Cmdline:    []string{"nowatchdog", "tsc=reliable", "random.trust_cpu=on"},
		SerialBus:  "virtio-serial-pci",
		FileSystem: "vhost-user-fs-pci",
		Modules:    []string{"virtio_pci", "virtio_console", "virtiofs", "overlay"},
	}
}

// RISCV64 is QEMU's own board for RISC-V, with the OpenSBI that Debian's opensbi brings. There is no PCI bus, so that a small
// kernel does without. The host's programs don't run in its guests, but Go and static C programs for riscv64 do.
func RISCV64() *Machine {
	return &Machine{
		QEMU:       "qemu-system-riscv64",
		Package:    "qemu-system-misc and opensbi",
		GOARCH:     "riscv64",
		Args:       []string{"-machine", "virt,memory-backend=ram", "-global", "virtio-mmio.force-legacy=false"},
		Console:    "ttyS0",
		SerialBus:  "virtio-serial-device",
		FileSystem: "vhost-user-fs-device",
	}
}

// Clock is how a guest's processors run.
type Clock int

const (
	// TakeTurns lets the processors take turns on one thread of the host.
	//
	// With a thread each, QEMU 7.2 sometimes lets a processor run into a breakpoint that the kernel has taken back before. On
	// x86 the kernel does that for each change of its own code and dies of it ("Oops: int3"): with Linux 6.12 once in some 50
	// attachments of tracepoints under load. On RISC-V a processor has been seen to trap on such a breakpoint for ever.
	TakeTurns Clock = iota
	// ThreadEach gives each processor a thread of the host. See TakeTurns for the price.
	ThreadEach
	// CountInstructions lets time pass by one nanosecond an instruction, whatever the host does, so that counts of
	// instructions (rdinstret) are exact and the same in every run. It takes one processor.
	CountInstructions
)

// args are QEMU's for this clock.
func (c Clock) args() []string {
	switch c {
	case ThreadEach:
		return []string{"-accel", "tcg,thread=multi"}
	case CountInstructions:
		return []string{
			"-accel", "tcg,thread=single",
			// sleep=off: while the guest is idle its clock jumps to the next timer. A fixed seed and date leave nothing to chance.
			"-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2024-01-01T00:00:00,clock=vm",
		}
	default:
		return []string{"-accel", "tcg,thread=single"}
	}
}

// args is QEMU's command line. agentFD is the number under which QEMU finds its end of the agent's socket.
func (m *Machine) args(c *Config, initrd string, agentFD int, files []*fileServer) []string {
	// No KVM: it is often missing, and where it is there (nested) it is often broken.
	args := slices.Concat(m.Args, c.Clock.args())
	args = append(args,
		"-smp", strconv.Itoa(c.cpus()),
		"-m", strconv.Itoa(c.memoryMiB())+"M",
		// virtiofsd reads and writes the guest's memory itself.
		"-object", "memory-backend-memfd,id=ram,share=on,size="+strconv.Itoa(c.memoryMiB())+"M",
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
		"-serial", "stdio",
		"-kernel", c.Kernel.Image, "-initrd", initrd, "-append", c.cmdline(),
		"-device", m.SerialBus,
		"-chardev", "socket,id=agent,fd="+strconv.Itoa(agentFD),
		"-device", "virtserialport,chardev=agent,name="+wire.Port,
	)
	for _, f := range files {
		args = append(args,
			"-chardev", "socket,id=files-"+f.tag+",path="+f.socket,
			"-device", m.FileSystem+",chardev=files-"+f.tag+",tag="+f.tag)
	}
	return args
}
