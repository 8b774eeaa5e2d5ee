// SPDX-License-Identifier: Apache-2.0

package features

import "sync"

// needsCR is the kernel option that most of this hangs on.
const needsCR = "CONFIG_CHECKPOINT_RESTORE"

// table is every feature there is. The versions are those of the kernel commits that brought each one.
var table = sync.OnceValue(func() []*Feature {
	return []*Feature{
		// Every dump and restore.
		{Name: "ptrace_seize", Since: "3.4", Use: "stop tasks without signals", probe: ptraceSeize},
		{Name: "ptrace_peeksiginfo", Since: "3.10", Use: "pending signals", probe: ptracePeekSiginfo},
		{Name: "ptrace_sigmask", Since: "3.11", Use: "signal masks", probe: ptraceSigmask},
		{Name: "clone3_set_tid", Since: "5.5", Use: "tasks with the PID they had", probe: clone3SetTID},
		{Name: "set_mm_map", Since: "3.18", Needs: needsCR, Use: "where heap, stack, arguments, environment and auxv are", probe: setMMMap},
		{Name: "kcmp", Since: "3.5", Needs: "CONFIG_KCMP or " + needsCR, Use: "which descriptors share an open file", probe: kcmpFile},
		{Name: "pidfd", Since: "5.3", Use: "tasks that can't be mistaken for others", probe: pidfdOpen},
		{Name: "pidfd_getfd", Since: "5.6", Use: "descriptors of the tree", probe: pidfdGetfd},
		{Name: "map_files", Since: "4.3", Needs: "CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN", Use: "mapped files, deleted ones too", probe: mapFiles},
		{Name: "mnt_id", Since: "3.15", Use: "which mount a file was opened on", probe: fdinfoMountID},
		{Name: "memfd", Since: "3.17", Needs: "CONFIG_MEMFD_CREATE", Use: "memory shared between tasks", probe: memfd},
		{Name: "get_robust_list", Since: "2.6", Use: "robust futexes", probe: robustList},
		{Name: "cap_sys_ptrace", Use: "any task, not only the caller's own", probe: capability(capSysPtrace)},
		{Name: "cap_checkpoint_restore", Use: "PIDs, map_files, exe links", probe: checkpointRestore},

		// Some process trees.
		{Name: "can_map_vdso", Level: Extra, Since: "4.9", Needs: needsCR, Use: "the vDSO where it was", probe: mapVDSO},
		{Name: "pagemap_scan", Level: Extra, Since: "6.7", Use: "which pages there are, fast; guard pages", probe: pagemapScan},
		{Name: "guard_pages", Level: Extra, Since: "6.13", Use: "guard pages (MADV_GUARD_INSTALL)", probe: guardPages},
		{Name: "vma_anon_name", Level: Extra, Since: "5.17", Needs: "CONFIG_ANON_VMA_NAME", Use: "names of anonymous memory", probe: anonName},
		{Name: "memfd_hugetlb", Level: Extra, Since: "4.14", Needs: "CONFIG_HUGETLBFS", Use: "memfds of huge pages", probe: memfdHugetlb},
		{Name: "get_rseq_conf", Level: Extra, Since: "5.13", Needs: "CONFIG_RSEQ", Use: "restartable sequences", probe: ptraceRseq},
		{Name: "seccomp_suspend", Level: Extra, Since: "4.3", Needs: needsCR + ", CONFIG_SECCOMP, CAP_SYS_ADMIN", Use: "tasks with seccomp filters", probe: ptraceSuspendSeccomp},
		{Name: "seccomp_filters", Level: Extra, Since: "4.4", Needs: needsCR + ", CONFIG_SECCOMP_FILTER", Use: "seccomp filters", probe: ptraceSeccompFilter},
		{Name: "ptrace_syscall_info", Level: Extra, Since: "5.3", Use: "the system call a task is in", probe: ptraceSyscallInfo},
		{Name: "timer_restore_ids", Level: Extra, Since: "6.15", Use: "POSIX timers with their ids at once", probe: timerRestoreIDs},
		{Name: "timerfd", Level: Extra, Since: "3.17", Needs: needsCR, Use: "ticks of timerfds", probe: timerfdTicks},
		{Name: "kcmp_epoll", Level: Extra, Since: "4.13", Needs: "CONFIG_KCMP or " + needsCR, Use: "targets of epoll", probe: kcmpEpoll},
		{Name: "fdinfo_lock", Level: Extra, Since: "4.1", Needs: "CONFIG_FILE_LOCKING", Use: "file locks", probe: fdinfoLock},
		{Name: "openat2", Level: Extra, Since: "5.6", Use: "paths that stay below the tree's root", probe: openat2},
		{Name: "unix_diag", Level: Extra, Since: "3.3", Needs: "CONFIG_UNIX_DIAG", Use: "unix sockets", probe: diagUnix},
		{Name: "inet_diag", Level: Extra, Since: "3.3", Needs: "CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG", Use: "TCP sockets", probe: diagTCP},
		{Name: "udp_diag", Level: Extra, Since: "3.3", Needs: "CONFIG_INET_UDP_DIAG", Use: "UDP sockets", probe: diagUDP},
		{Name: "packet_diag", Level: Extra, Since: "3.7", Needs: "CONFIG_PACKET_DIAG", Use: "packet sockets", probe: diagPacket},
		{Name: "netlink_diag", Level: Extra, Since: "3.10", Needs: "CONFIG_NETLINK_DIAG", Use: "netlink sockets", probe: diagNetlink},
		{Name: "net_diag_raw", Level: Extra, Since: "4.10", Needs: "CONFIG_INET_RAW_DIAG", Use: "raw sockets", probe: diagRaw},
		{Name: "tcp_repair", Level: Extra, Since: "3.5", Needs: "CAP_NET_ADMIN", Use: "established TCP connections", probe: tcpRepair},
		{Name: "tcp_half_closed", Level: Extra, Since: "4.10", Needs: "CAP_NET_ADMIN", Use: "TCP connections closed on one side", probe: tcpHalfClosed},
		{Name: "sockopt_buf_lock", Level: Extra, Since: "5.14", Use: "socket buffer sizes", probe: socketBufLock},
		{Name: "sk_ns", Level: Extra, Since: "4.9", Needs: "CONFIG_NET_NS, CAP_NET_ADMIN", Use: "the network namespace of a socket", probe: socketNS},
		{Name: "sk_unix_file", Level: Extra, Since: "4.10", Needs: "CAP_NET_ADMIN", Use: "the file of a bound unix socket", probe: socketUnixFile},
		{Name: "ipv6_freebind", Level: Extra, Since: "4.15", Needs: "CONFIG_IPV6", Use: "IPv6 sockets bound to missing addresses", probe: ipv6Freebind},
		{Name: "cap_sys_admin", Level: Extra, Use: "namespaces, seccomp filters", probe: capability(capSysAdmin)},
		{Name: "cap_sys_resource", Level: Extra, Use: "hard limits above the engine's own", probe: capability(capSysResource)},
		{Name: "cap_net_admin", Level: Extra, Use: "TCP connections, socket options", probe: capability(capNetAdmin)},
		{Name: "cap_setuid", Level: Extra, Use: "tasks of other users", probe: capability(capSetuid)},
		{Name: "cap_sys_chroot", Level: Extra, Use: "tasks with a root directory of their own", probe: capability(capSysChroot)},
		{Name: "aio_remap", Level: Extra, Since: "3.19", Needs: "CONFIG_AIO", Use: "AIO rings", probe: aioRemap},
		{Name: "loginuid", Level: Extra, Needs: "CONFIG_AUDIT", Use: "login user ids", probe: readable("/proc/self/loginuid")},
		{Name: "userns", Level: Extra, Since: "3.8", Needs: "CONFIG_USER_NS", Use: "user namespaces", probe: readable("/proc/self/ns/user")},
		{Name: "cgroupns", Level: Extra, Since: "4.6", Needs: "CONFIG_CGROUPS", Use: "cgroup namespaces", probe: readable("/proc/self/ns/cgroup")},
		{Name: "timens", Level: Extra, Since: "5.6", Needs: "CONFIG_TIME_NS", Use: "time namespaces", probe: readable("/proc/self/ns/time")},
		{Name: "ns_pid", Level: Extra, Since: "4.1", Needs: "CONFIG_PID_NS", Use: "PIDs in nested namespaces", probe: statusNSpid},
		{Name: "ns_get_parent", Level: Extra, Since: "4.9", Needs: "CONFIG_USER_NS", Use: "hierarchy of namespaces", probe: nsGetUserNS},
		{Name: "move_mount_set_group", Level: Extra, Since: "5.15", Use: "mount namespaces", probe: moveMountSetGroup},
		{Name: "tun", Level: Extra, Needs: "CONFIG_TUN", Use: "tun and tap devices", probe: tun},
		{Name: "tun_ns", Level: Extra, Since: "4.16", Needs: "CONFIG_TUN", Use: "the network namespace of a tun device", probe: tunNS},
		{Name: "nsid", Level: Extra, Since: "4.0", Needs: "CONFIG_NET_NS", Use: "ids of network namespaces", probe: netNSID},
		{Name: "link_nsid", Level: Extra, Since: "4.0", Needs: "CONFIG_NET_NS", Use: "devices that span network namespaces", probe: byVersion("4.0")},
		{Name: "external_net_ns", Level: Extra, Since: "4.0", Needs: "CONFIG_NET_NS", Use: "network namespaces from outside", probe: byVersion("4.0")},
		{Name: "newifindex", Level: Extra, Since: "5.14", Use: "indices of network devices moved between namespaces", probe: byVersion("5.14")},
		{Name: "nftables", Level: Extra, Since: "3.13", Needs: "CONFIG_NF_TABLES", Use: "locking of TCP connections", probe: nftables},
		{Name: "network_lock_nftables", Level: Extra, Since: "3.13", Needs: "CONFIG_NF_TABLES", Use: "locking of TCP connections", probe: nftables},
		{Name: "has_ipt_legacy", Level: Extra, Use: "locking of TCP connections by old iptables", probe: iptablesLegacy},
		{Name: "apparmor_stacking", Level: Extra, Since: "4.13", Needs: "CONFIG_SECURITY_APPARMOR", Use: "stacked AppArmor profiles", probe: apparmorStacking},
		{Name: "pidfd_store", Level: Extra, Since: "5.6", Use: "PIDs that are checked between dumps", probe: pidfdGetfd},
		{Name: "autofs", Level: Extra, Needs: "CONFIG_AUTOFS_FS", Use: "automounts", probe: filesystem("autofs")},
		{Name: "overlayfs_maps", Level: Extra, Since: "6.8", Use: "files mapped from overlayfs", probe: byVersion("6.8")},
		{Name: "compat_cr", Level: Extra, Use: "32-bit tasks", probe: compatTasks},

		// To be faster, or for modes to come.
		{Name: "mem_dirty_track", Level: Experimental, Since: "3.11", Needs: "CONFIG_MEM_SOFT_DIRTY", Use: "incremental dumps by soft-dirty bits", probe: softDirty},
		{Name: "uffd", Level: Experimental, Since: "4.3", Needs: "CONFIG_USERFAULTFD", Use: "lazy restore", probe: userfault(0)},
		{Name: "uffd-noncoop", Level: Experimental, Since: "4.11", Needs: "CONFIG_USERFAULTFD", Use: "lazy restore of tasks that fork and unmap", probe: userfault(uffdNonCooperative)},
		{Name: "uffd_wp_async", Level: Experimental, Since: "6.7", Needs: "CONFIG_USERFAULTFD, CONFIG_PTE_MARKER_UFFD_WP", Use: "incremental dumps by write protection", probe: userfault(uffdWPAsync)},
		{Name: "ptrace_set_syscall_info", Level: Experimental, Since: "6.16", Use: "changing a system call in flight", probe: ptraceSetSyscallInfo},
		{Name: "no_lockdown", Level: Experimental, Use: "probes of kernel functions", probe: lockdown},
	}
})
