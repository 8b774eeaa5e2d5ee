// SPDX-License-Identifier: Apache-2.0

package vm

import (
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
	// Args choose the machine, its processor and accelerator.
	Args []string
	// Console is the kernel's name of the first serial port.
	Console string
	// SerialBus and FileSystem are QEMU's devices for virtio-serial and vhost-user-fs.
	SerialBus, FileSystem string
	// Modules are the kernel's modules for these devices, for virtio-fs and for overlayfs; what is built in is left out.
	Modules []string
}

// PC is an x86-64 machine, emulated: KVM is often missing, and where it is there (nested) it is often broken.
//
// Its processors take turns on one thread. With a thread each, QEMU 7.2 sometimes lets a processor run into a breakpoint that
// the kernel has taken back before, as it does for each change of its own code, and the kernel dies of it ("Oops: int3"): with
// Linux 6.12 once in some 50 attachments of tracepoints under load.
func PC() *Machine {
	return &Machine{
		QEMU:       "qemu-system-x86_64",
		Package:    "qemu-system-x86",
		GOARCH:     "amd64",
		Args:       []string{"-machine", "pc,memory-backend=ram,hpet=off", "-accel", "tcg,thread=single", "-cpu", "max"},
		Console:    "ttyS0",
		SerialBus:  "virtio-serial-pci",
		FileSystem: "vhost-user-fs-pci",
		Modules:    []string{"virtio_pci", "virtio_console", "virtiofs", "overlay"},
	}
}

// args is QEMU's command line. agentFD is the number under which QEMU finds its end of the agent's socket.
func (m *Machine) args(c *Config, initrd string, agentFD int, files []*fileServer) []string {
	args := append([]string(nil), m.Args...)
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
