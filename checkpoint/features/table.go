// SPDX-License-Identifier: Apache-2.0

package features

import (
	"sync"

	"github.com/trapline/trapline/internal/feature"
)

// needsCR is the kernel option that most of this hangs on.
const needsCR = "CONFIG_CHECKPOINT_RESTORE"

// table is every feature there is. The versions are those of the kernel commits that brought each one.
var table = sync.OnceValue(func() []*Feature {
	return []*Feature{
		// Every dump and restore.
		{Name: "ptrace_seize", Since: "3.4", Use: "stop tasks without signals", Probe: ptraceSeize},
		{Name: "ptrace_peeksiginfo", Since: "3.10", Use: "pending signals", Probe: ptracePeekSiginfo},
		{Name: "ptrace_sigmask", Since: "3.11", Use: "signal masks", Probe: ptraceSigmask},
		{Name: "clone3_set_tid", Since: "5.5", Use: "tasks with the PID they had", Probe: clone3SetTID},
		{Name: "set_mm_map", Since: "3.18", Needs: needsCR, Use: "where heap, stack, arguments, environment and auxv are", Probe: setMMMap},
		{Name: "kcmp", Since: "3.5", Needs: "CONFIG_KCMP or " + needsCR, Use: "which descriptors share an open file", Probe: kcmpFile},
		{Name: "pidfd", Since: "5.3", Use: "tasks that can't be mistaken for others", Probe: pidfdOpen},
		{Name: "pidfd_getfd", Since: "5.6", Use: "descriptors of the tree", Probe: pidfdGetfd},
		{Name: "map_files", Since: "4.3", Needs: "CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN", Use: "mapped files, deleted ones too", Probe: mapFiles},
		{Name: "mnt_id", Since: "3.15", Use: "which mount a file was opened on", Probe: fdinfoMountID},
		{Name: "memfd", Since: "3.17", Needs: "CONFIG_MEMFD_CREATE", Use: "memory shared between tasks", Probe: memfd},
		{Name: "get_robust_list", Since: "2.6", Use: "robust futexes", Probe: robustList},
		{Name: "cap_sys_ptrace", Use: "any task, not only the caller's own", Probe: capability(capSysPtrace)},
		{Name: "cap_checkpoint_restore", Use: "PIDs, map_files, exe links", Probe: checkpointRestore},

		// Some process trees.
		{Name: "can_map_vdso", Level: Extra, Since: "4.9", Needs: needsCR, Use: "the vDSO where it was", Probe: mapVDSO},
		{Name: "pagemap_scan", Level: Extra, Since: "6.7", Use: "which pages there are, fast; guard pages", Probe: pagemapScan},
		{Name: "guard_pages", Level: Extra, Since: "6.13", Use: "guard pages (MADV_GUARD_INSTALL)", Probe: guardPages},
		{Name: "vma_anon_name", Level: Extra, Since: "5.17", Needs: "CONFIG_ANON_VMA_NAME", Use: "names of anonymous memory", Probe: anonName},
		{Name: "memfd_hugetlb", Level: Extra, Since: "4.14", Needs: "CONFIG_HUGETLBFS", Use: "memfds of huge pages", Probe: memfdHugetlb},
		{Name: "get_rseq_conf", Level: Extra, Since: "5.13", Needs: "CONFIG_RSEQ", Use: "restartable sequences", Probe: ptraceRseq},
		{Name: "seccomp_suspend", Level: Extra, Since: "4.3", Needs: needsCR + ", CONFIG_SECCOMP, CAP_SYS_ADMIN", Use: "tasks with seccomp filters", Probe: ptraceSuspendSeccomp},
		{Name: "seccomp_filters", Level: Extra, Since: "4.4", Needs: needsCR + ", CONFIG_SECCOMP_FILTER", Use: "seccomp filters", Probe: ptraceSeccompFilter},
		{Name: "ptrace_syscall_info", Level: Extra, Since: "5.3", Use: "the system call a task is in", Probe: ptraceSyscallInfo},
		{Name: "timer_restore_ids", Level: Extra, Since: "6.15", Use: "POSIX timers with their ids at once", Probe: timerRestoreIDs},
		{Name: "timerfd", Level: Extra, Since: "3.17", Needs: needsCR, Use: "ticks of timerfds", Probe: timerfdTicks},
		{Name: "kcmp_epoll", Level: Extra, Since: "4.13", Needs: "CONFIG_KCMP or " + needsCR, Use: "targets of epoll", Probe: kcmpEpoll},
		{Name: "fdinfo_lock", Level: Extra, Since: "4.1", Needs: "CONFIG_FILE_LOCKING", Use: "file locks", Probe: fdinfoLock},
		{Name: "openat2", Level: Extra, Since: "5.6", Use: "paths that stay below the tree's root", Probe: openat2},
		{Name: "unix_diag", Level: Extra, Since: "3.3", Needs: "CONFIG_UNIX_DIAG", Use: "unix sockets", Probe: diagUnix},
		{Name: "inet_diag", Level: Extra, Since: "3.3", Needs: "CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG", Use: "TCP sockets", Probe: diagTCP},
		{Name: "udp_diag", Level: Extra, Since: "3.3", Needs: "CONFIG_INET_UDP_DIAG", Use: "UDP sockets", Probe: diagUDP},
		{Name: "packet_diag", Level: Extra, Since: "3.7", Needs: "CONFIG_PACKET_DIAG", Use: "packet sockets", Probe: diagPacket},
		{Name: "netlink_diag", Level: Extra, Since: "3.10", Needs: "CONFIG_NETLINK_DIAG", Use: "netlink sockets", Probe: diagNetlink},
		{Name: "net_diag_raw", Level: Extra, Since: "4.10", Needs: "CONFIG_INET_RAW_DIAG", Use: "raw sockets", Probe: diagRaw},
		{Name: "tcp_repair", Level: Extra, Since: "3.5", Needs: "CAP_NET_ADMIN", Use: "established TCP connections", Probe: tcpRepair},
		{Name: "tcp_half_closed", Level: Extra, Since: "4.10", Needs: "CAP_NET_ADMIN", Use: "TCP connections closed on one side", Probe: tcpHalfClosed},
		{Name: "sockopt_buf_lock", Level: Extra, Since: "5.14", Use: "socket buffer sizes", Probe: socketBufLock},
		{Name: "sk_ns", Level: Extra, Since: "4.9", Needs: "CONFIG_NET_NS, CAP_NET_ADMIN", Use: "the network namespace of a socket", Probe: socketNS},
		{Name: "sk_unix_file", Level: Extra, Since: "4.10", Needs: "CAP_NET_ADMIN", Use: "the file of a bound unix socket", Probe: socketUnixFile},
		{Name: "ipv6_freebind", Level: Extra, Since: "4.15", Needs: "CONFIG_IPV6", Use: "IPv6 sockets bound to missing addresses", Probe: ipv6Freebind},
		{Name: "cap_sys_admin", Level: Extra, Use: "namespaces, seccomp filters", Probe: capability(capSysAdmin)},
		{Name: "cap_sys_resource", Level: Extra, Use: "hard limits above the engine's own", Probe: capability(capSysResource)},
		{Name: "cap_net_admin", Level: Extra, Use: "TCP connections, socket options", Probe: capability(capNetAdmin)},
		{Name: "cap_setuid", Level: Extra, Use: "tasks of other users", Probe: capability(capSetuid)},
		{Name: "cap_sys_chroot", Level: Extra, Use: "tasks with a root directory of their own", Probe: capability(capSysChroot)},
		{Name: "aio_remap", Level: Extra, Since: "3.19", Needs: "CONFIG_AIO", Use: "AIO rings", Probe: aioRemap},
		{Name: "loginuid", Level: Extra, Needs: "CONFIG_AUDIT", Use: "login user ids", Probe: readable("/proc/self/loginuid")},
		{Name: "userns", Level: Extra, Since: "3.8", Needs: "CONFIG_USER_NS", Use: "user namespaces", Probe: readable("/proc/self/ns/user")},
		{Name: "cgroupns", Level: Extra, Since: "4.6", Needs: "CONFIG_CGROUPS", Use: "cgroup namespaces", Probe: readable("/proc/self/ns/cgroup")},
		{Name: "timens", Level: Extra, Since: "5.6", Needs: "CONFIG_TIME_NS", Use: "time namespaces", Probe: readable("/proc/self/ns/time")},
		{Name: "ns_pid", Level: Extra, Since: "4.1", Needs: "CONFIG_PID_NS", Use: "PIDs in nested namespaces", Probe: statusNSpid},
		{Name: "ns_get_parent", Level: Extra, Since: "4.9", Needs: "CONFIG_USER_NS", Use: "hierarchy of namespaces", Probe: nsGetUserNS},
		{Name: "move_mount_set_group", Level: Extra, Since: "5.15", Use: "mount namespaces", Probe: moveMountSetGroup},
		{Name: "tun", Level: Extra, Needs: "CONFIG_TUN", Use: "tun and tap devices", Probe: tun},
		{Name: "tun_ns", Level: Extra, Since: "4.16", Needs: "CONFIG_TUN", Use: "the network namespace of a tun device", Probe: tunNS},
		{Name: "nsid", Level: Extra, Since: "4.0", Needs: "CONFIG_NET_NS", Use: "ids of network namespaces", Probe: netNSID},
		{Name: "link_nsid", Level: Extra, Since: "4.0", Needs: "CONFIG_NET_NS", Use: "devices that span network namespaces", Probe: feature.ByVersion("4.0")},
		{Name: "external_net_ns", Level: Extra, Since: "4.0", Needs: "CONFIG_NET_NS", Use: "network namespaces from outside", Probe: feature.ByVersion("4.0")},
		{Name: "newifindex", Level: Extra, Since: "5.14", Use: "indices of network devices moved between namespaces", Probe: feature.ByVersion("5.14")},
		{Name: "nftables", Level: Extra, Since: "3.13", Needs: "CONFIG_NF_TABLES", Use: "locking of TCP connections", Probe: nftables},
		{Name: "network_lock_nftables", Level: Extra, Since: "3.13", Needs: "CONFIG_NF_TABLES", Use: "locking of TCP connections", Probe: nftables},
		{Name: "has_ipt_legacy", Level: Extra, Use: "locking of TCP connections by old iptables", Probe: iptablesLegacy},
		{Name: "apparmor_stacking", Level: Extra, Since: "4.13", Needs: "CONFIG_SECURITY_APPARMOR", Use: "stacked AppArmor profiles", Probe: apparmorStacking},
		{Name: "pidfd_store", Level: Extra, Since: "5.6", Use: "PIDs that are checked between dumps", Probe: pidfdGetfd},
		{Name: "autofs", Level: Extra, Needs: "CONFIG_AUTOFS_FS", Use: "automounts", Probe: filesystem("autofs")},
		{Name: "overlayfs_maps", Level: Extra, Since: "6.8", Use: "files mapped from overlayfs", Probe: feature.ByVersion("6.8")},
		{Name: "compat_cr", Level: Extra, Use: "32-bit tasks", Probe: compatTasks},

		// To be faster, or for modes to come.
		{Name: "mem_dirty_track", Level: Experimental, Since: "3.11", Needs: "CONFIG_MEM_SOFT_DIRTY", Use: "incremental dumps by soft-dirty bits", Probe: softDirty},
		{Name: "uffd", Level: Experimental, Since: "4.3", Needs: "CONFIG_USERFAULTFD", Use: "lazy restore", Probe: userfault(0)},
		{Name: "uffd-noncoop", Level: Experimental, Since: "4.11", Needs: "CONFIG_USERFAULTFD", Use: "lazy restore of tasks that fork and unmap", Probe: userfault(uffdNonCooperative)},
		{Name: "uffd_wp_async", Level: Experimental, Since: "6.7", Needs: "CONFIG_USERFAULTFD, CONFIG_PTE_MARKER_UFFD_WP", Use: "incremental dumps by write protection", Probe: userfault(uffdWPAsync)},
		{Name: "ptrace_set_syscall_info", Level: Experimental, Since: "6.16", Use: "changing a system call in flight", Probe: ptraceSetSyscallInfo},
		{Name: "no_lockdown", Level: Experimental, Use: "probes of kernel functions", Probe: lockdown},
	}
})
