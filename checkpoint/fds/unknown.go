// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// refusal says what an object that no kind takes is, and what to do about it.
type refusal struct{ prefix, what, hint string }

// refusals are matched by the start of the link of /proc/PID/fd.
var refusals = []refusal{
	{"anon_inode:[io_uring]", "an io_uring instance", "make the program fall back to epoll or threads, or stop it another way"},
	{"anon_inode:inotify", "an inotify instance", "not supported yet: let the program close it before the dump"},
	{"anon_inode:[fanotify]", "a fanotify group", "not supported yet: let the program close it before the dump"},
	{"anon_inode:[perf_event]", "a perf event", "detach perf or the profiler first"},
	{"anon_inode:[userfaultfd]", "a userfaultfd", "its state can't be read from outside; let the program close it first"},
	{"anon_inode:bpf", "a BPF object", "not supported yet: let the program close it before the dump"},
	{"anon_inode:[pidfd]", "a pidfd", "not supported yet: let the program close it before the dump"},
	{"pidfd:", "a pidfd", "not supported yet: let the program close it before the dump"},
	{"anon_inode:kvm", "a KVM object", "virtual machines have checkpoints of their own"},
	{"/secretmem", "secret memory", "memfd_secret keeps it from every reader, this one included"},
	{"net:[", "a network namespace", "namespaces are not supported yet: let the program close it first"},
	{"mnt:[", "a mount namespace", "namespaces are not supported yet: let the program close it first"},
	{"pid:[", "a PID namespace", "namespaces are not supported yet: let the program close it first"},
	{"user:[", "a user namespace", "namespaces are not supported yet: let the program close it first"},
	{"ipc:[", "an IPC namespace", "namespaces are not supported yet: let the program close it first"},
	{"uts:[", "a UTS namespace", "namespaces are not supported yet: let the program close it first"},
	{"time:[", "a time namespace", "namespaces are not supported yet: let the program close it first"},
	{"cgroup:[", "a cgroup namespace", "namespaces are not supported yet: let the program close it first"},
}

// refuseUnknown is the error for an object that no kind takes.
func refuseUnknown(o *object) error {
	for _, r := range refusals {
		if strings.HasPrefix(o.link, r.prefix) {
			return o.refuse(r.what, r.hint)
		}
	}
	switch o.format() {
	case unix.S_IFCHR:
		major, minor := unix.Major(o.st.Rdev), unix.Minor(o.st.Rdev)
		if isTTY(major) {
			return o.refuse("the terminal "+o.link,
				"start the program without one (setsid, input and output redirected); terminals are not supported yet")
		}
		return o.refuse(fmt.Sprintf("the device %s (%d:%d)", o.link, major, minor), "let the program close it before the dump")
	case unix.S_IFBLK:
		return o.refuse("the block device "+o.link, "let the program close it before the dump")
	case unix.S_IFSOCK:
		return o.refuse(socketName(o), "let the program close it before the dump")
	}
	return o.refuse(o.link, "this kind of file is not known; let the program close it before the dump")
}

// isTTY knows the major numbers of terminals (Documentation/admin-guide/devices.txt of the kernel): consoles, /dev/tty,
// serial lines, both ends of pseudo-terminals.
func isTTY(major uint32) bool {
	return major == 4 || major == 5 || major >= 128 && major <= 143 || major == 204
}

// socketName says what a socket is that no kind takes.
func socketName(o *object) string {
	domain, err := unix.GetsockoptInt(o.local, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return "a socket"
	}
	typ, _ := unix.GetsockoptInt(o.local, unix.SOL_SOCKET, unix.SO_TYPE)
	name := map[int]string{
		unix.AF_NETLINK: "a netlink socket", unix.AF_PACKET: "a packet socket", unix.AF_VSOCK: "a vsock socket",
		unix.AF_ALG: "a kernel crypto socket", unix.AF_BLUETOOTH: "a Bluetooth socket", unix.AF_XDP: "an XDP socket",
	}[domain]
	switch {
	case name != "":
		return name
	case (domain == unix.AF_INET || domain == unix.AF_INET6) && typ == unix.SOCK_RAW:
		return "a raw socket"
	}
	return fmt.Sprintf("a socket of family %d and type %d", domain, typ)
}
