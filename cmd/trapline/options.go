// SPDX-License-Identifier: Apache-2.0

package main

// options is every option there is: those that CRIU 4.1's criu-dump, criu-restore and criu-check know, then ours.
// docs/cli.md is made from it.
var options = [...]option{
	// Generic.
	{
		name: "tree", short: "t", kind: value, arg: "PID", cmds: cmdDumps, set: setTree,
		note: "the root of the process tree to dump",
	},
	{
		name: "images-dir", short: "D", kind: value, arg: "DIR", cmds: cmdAny | cmdImages, set: setImagesDir,
		note: "the directory of the images (default: the current one)",
	},
	{
		name: "work-dir", short: "W", kind: value, arg: "DIR", cmds: cmdAny, set: text(func(s *settings) *string { return &s.workDir }),
		note: "the directory of logs, pid files and statistics (default: that of the images)",
	},
	{
		name: "leave-running", short: "R", cmds: cmdDumps, set: setLeaveRunning,
		note: "let the tree run on after the dump instead of killing it; the last of -R and -s wins",
	},
	{
		name: "leave-stopped", short: "s", cmds: cmdDumpRes, set: setLeaveStopped,
		note: "leave the tree stopped after the dump or restore; the last of -R and -s wins",
	},
	{
		name: "restore-detached", short: "d", cmds: cmdRestore, set: onOff(func(s *settings) *bool { return &s.detach }),
		note: "do not wait for the restored root task",
	},
	{
		name: "restore-sibling", short: "S", cmds: cmdRestore, fate: refused,
		note: "the root task is a child of the restorer, or with --restore-detached of init",
	},
	{
		name: "exec-cmd", cmds: cmdRestore, set: onOff(func(s *settings) *bool { return &s.execCmd }),
		note: "after the restore become the command that follows --, the parent of the restored tree",
	},
	{
		name: "pidfile", kind: value, arg: "FILE", cmds: cmdAny, set: text(func(s *settings) *string { return &s.pidfile }),
		note: "write the PID of the restored root task into FILE, which must not exist yet",
	},
	{
		name: "timeout", kind: value, arg: "SECONDS", cmds: cmdDumps, set: setTimeout,
		note: "how long the tasks may take to stop (default 10)",
	},
	{
		name: "shell-job", short: "j", cmds: cmdDumpRes, set: onOff(func(s *settings) *bool { return &s.shellJob }),
		note: "allow a tree whose root does not lead its session, which is refused otherwise; restored, it gets session and process group of its restorer",
	},
	{
		name: "cpu-cap", kind: optional, arg: "CAP,…", cmds: cmdDumpRes, set: setCPUCap,
		note: "what of the CPU a restore compares: fpu, ins (both: default), cpu (exactly the same), all (the bare option), none; with ^ in front all but that. A dump with none records nothing",
	},
	{
		name: "action-script", kind: value, arg: "FILE", cmds: cmdDumpRes, set: list(func(s *settings) *[]string { return &s.scripts }),
		note: "run FILE at each stage, which it finds in $CRTOOLS_SCRIPT_ACTION; may be given again",
	},
	{
		name: "status-fd", kind: value, arg: "FD", cmds: cmdDumpRes, set: setStatusFD,
		note: "write a zero byte to FD and close it once the tree is dumped or restored",
	},
	{
		name: "close", kind: value, arg: "FD", cmds: cmdAny, set: setClose,
		note: "close FD before anything else",
	},
	{
		name: "unprivileged", cmds: cmdAny, fate: noop,
		note: "what is missing is found out by trying and named, with or without root",
	},
	{
		name: "deprecated", cmds: cmdAny, fate: noop,
		note: "options that CRIU has deprecated are in this table with what becomes of them",
	},
	{
		name: "freeze-cgroup", kind: value, arg: "DIR", cmds: cmdDumps, fate: noop,
		note: "tasks are stopped by ptrace until no new one appears; the freezer is not needed for it",
	},
	{
		name: "weak-sysctls", cmds: cmdDumpRes, fate: noop,
		note: "no sysctl is restored",
	},
	{
		name: "libdir", short: "L", kind: value, arg: "DIR", cmds: cmdAny, fate: noop,
		note: "there are no plug-ins",
	},
	{
		name: "stream", cmds: cmdDumpRes, fate: refused,
		note: "images are files in a directory and can't be streamed; use --images-dir",
	},
	{
		name: "lazy-pages", cmds: cmdDumpRes, fate: refused,
		note: "pages are restored before the tree runs; leave the option out",
	},

	// Files and devices.
	{
		name: "external", kind: value, arg: "RES", cmds: cmdDumpRes, set: setExternal,
		note: "an object that is not dumped but replaced on restore: unix[INODE], a unix socket outside of the tree; no other is supported yet",
	},
	{
		name: "inherit-fd", kind: value, arg: "fd[NUM]:RES", cmds: cmdRestore, set: setInheritFD,
		note: "use descriptor NUM of the caller for RES: pipe:[…], socket:[…] (with or without the colon) or a path; warns if there is no RES",
	},
	{
		name: "root", short: "r", kind: value, arg: "DIR", cmds: cmdDumpRes, set: text(func(s *settings) *string { return &s.root }),
		note: "the directory that becomes the root of the restored tree",
	},
	{
		name: "evasive-devices", cmds: cmdDumpRes, fate: refused,
		note: "a device has to be at the path by which it was opened",
	},
	{
		name: "link-remap", cmds: cmdDumpRes, set: onOff(func(s *settings) *bool { return &s.linkRemap }),
		note: "link unlinked files back where possible",
	},
	{
		name: "ghost-limit", kind: value, arg: "SIZE", cmds: cmdDumpRes, set: setGhostLimit,
		note: "the largest deleted file whose contents are dumped, in bytes or with K, M, G (default 1M)",
	},
	{
		name: "file-locks", short: "l", cmds: cmdDumpRes, set: onOff(func(s *settings) *bool { return &s.fileLocks }),
		note: "dump and restore file locks",
	},
	{
		name: "file-validation", kind: value, arg: "METHOD", cmds: cmdDumpRes,
		set:  oneOf(func(s *settings) *string { return &s.fileValidation }, "buildid", "filesize"),
		note: "how a file is recognised as unchanged: buildid (default), by its size and, a program or library, by its build ID; filesize, by its size alone",
	},
	{
		name: "skip-file-rwx-check", cmds: cmdDumpRes, set: onOff(func(s *settings) *bool { return &s.skipFileRWXCheck }),
		note: "accept files whose permission bits have changed",
	},
	{
		name: "ghost-fiemap", cmds: cmdDumpRes, fate: noop,
		note: "holes of deleted files are found by SEEK_HOLE",
	},
	{
		name: "force-irmap", cmds: cmdDumpRes, fate: noop,
		note: "inotify watches are refused by name, so there are no paths of watches to resolve",
	},
	{
		name: "irmap-scan-path", kind: value, arg: "DIR", cmds: cmdDumpRes, fate: noop,
		note: "as --force-irmap",
	},

	// Sockets.
	{
		name: "tcp-established", cmds: cmdDumpRes, fate: refused,
		note: "connections are not carried over; --tcp-close brings them back as closed sockets",
	},
	{
		name: "tcp-close", cmds: cmdDumpRes, set: onOff(func(s *settings) *bool { return &s.tcpClose }),
		note: "bring established TCP connections back as closed sockets",
	},
	{
		name: "skip-in-flight", cmds: cmdDumpRes, set: onOff(func(s *settings) *bool { return &s.skipInFlight }),
		note: "leave out TCP connections that nobody has accepted yet",
	},
	{
		name: "ext-unix-sk", short: "x", kind: optional, arg: "INODE", cmds: cmdDumpRes, set: setExtUnixSk,
		note: "allow datagram unix sockets whose peer is outside of the tree, or the one with INODE",
	},
	{
		name: "network-lock", kind: value, arg: "METHOD", cmds: cmdDumpRes, fate: noop, set: oneOf(nil, "iptables", "nftables", "skip"),
		note: "only established TCP connections need the lock, and those without --tcp-close are refused by name",
	},

	// Namespaces and mounts.
	{
		name: "mntns-compat-mode", cmds: cmdDumpRes, fate: noop,
		note: "no mount namespace is restored",
	},
	{
		name: "skip-mnt", kind: value, arg: "PATH", cmds: cmdDumpRes, fate: noop,
		note: "no mount namespace is dumped",
	},
	{
		name: "enable-fs", kind: value, arg: "FS,…", cmds: cmdDumpRes, fate: noop,
		note: "no mount namespace is dumped",
	},
	{
		name: "empty-ns", kind: value, arg: "NS", cmds: cmdDumpRes, fate: refused,
		note: "namespaces are not dumped; run in those of the tree (nsenter)",
	},
	{
		name: "join-ns", short: "J", kind: value, arg: "NS:PID|FILE", cmds: cmdDumpRes, fate: refused,
		note: "run the restore itself in the namespace (nsenter)",
	},
	{
		name: "veth-pair", kind: value, arg: "IN=OUT", cmds: cmdDumpRes, fate: refused,
		note: "network namespaces are not restored",
	},
	{
		name: "ext-mount-map", short: "M", kind: value, arg: "KEY:VALUE", cmds: cmdDumpRes, fate: refused,
		note: "mount namespaces are not restored",
	},
	{
		name: "enable-external-sharing", cmds: cmdDumpRes, fate: refused,
		note: "mount namespaces are not dumped",
	},
	{
		name: "enable-external-masters", cmds: cmdDumpRes, fate: refused,
		note: "mount namespaces are not dumped",
	},

	// Control groups and security modules.
	{
		name: "manage-cgroups", kind: optional, arg: "MODE", cmds: cmdDumpRes, set: setManageCgroups,
		note: "none or ignore (default): cgroups are left as they are; soft (the bare option), props, full and strict are not supported yet",
	},
	{
		name: "cgroup-root", kind: value, arg: "[CTL:]PATH", cmds: cmdDumpRes, fate: refused,
		note: "cgroups themselves are not dumped; put the restored tree where it belongs with an --action-script",
	},
	{
		name: "cgroup-props", kind: value, arg: "STRING", cmds: cmdDumpRes, fate: refused,
		note: "properties of cgroups are not dumped",
	},
	{
		name: "cgroup-props-file", kind: value, arg: "FILE", cmds: cmdDumpRes, fate: refused,
		note: "properties of cgroups are not dumped",
	},
	{
		name: "cgroup-dump-controller", kind: value, arg: "NAME", cmds: cmdDumpRes, fate: refused,
		note: "properties of cgroups are not dumped",
	},
	{
		name: "cgroup-yard", kind: value, arg: "DIR", cmds: cmdDumpRes, fate: refused,
		note: "cgroups themselves are not dumped",
	},
	{
		name: "lsm-profile", kind: value, arg: "TYPE:NAME", cmds: cmdDumpRes, fate: refused,
		note: "profiles of security modules are not restored",
	},
	{
		name: "lsm-mount-context", kind: value, arg: "CTX", cmds: cmdDumpRes, fate: refused,
		note: "mount namespaces are not restored",
	},

	// Memory.
	{
		name: "track-mem", cmds: cmdDumpRes, fate: refused,
		note: "dumps are always whole ones; leave the option out",
	},
	{
		name: "prev-images-dir", kind: value, arg: "DIR", cmds: cmdDumpRes, fate: refused,
		note: "dumps are always whole ones; leave the option out",
	},
	{
		name: "pre-dump-mode", kind: value, arg: "MODE", cmds: cmdDumpRes, fate: refused,
		note: "there is no pre-dump",
	},
	{
		name: "auto-dedup", cmds: cmdDumpRes, fate: refused,
		note: "dumps are always whole ones, there is nothing to deduplicate",
	},
	{
		name: "page-server", cmds: cmdDumpRes, fate: refused,
		note: "pages go into the directory of the images only",
	},
	{
		name: "address", kind: value, arg: "ADDR", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "port", kind: value, arg: "PORT", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "ps-socket", kind: value, arg: "FD", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "daemon", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "tls", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "tls-cacert", kind: value, arg: "FILE", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "tls-cacrl", kind: value, arg: "FILE", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "tls-cert", kind: value, arg: "FILE", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "tls-key", kind: value, arg: "FILE", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},
	{
		name: "tls-no-cn-verify", cmds: cmdDumpRes, fate: refused,
		note: "there is no page server",
	},

	// Check.
	{
		name: "extra", cmds: cmdCheck, set: onOff(func(s *settings) *bool { return &s.checkExtra }),
		note: "also what only some process trees need",
	},
	{
		name: "experimental", cmds: cmdCheck, set: onOff(func(s *settings) *bool { return &s.checkExperimental }),
		note: "also what only makes things faster or is used by nothing yet",
	},
	{
		name: "all", cmds: cmdCheck, set: setAllFeatures,
		note: "as --extra --experimental",
	},
	{
		name: "feature", kind: value, arg: "NAME", cmds: cmdCheck, set: setFeature,
		note: "only this feature; \"list\" lists them; may be given again",
	},
	{
		name: "ms", cmds: cmdCheck, fate: refused,
		note: "CRIU has dropped it too; see --feature",
	},

	// Messages.
	{
		name: "verbosity", short: "v", kind: optional, arg: "LEVEL", cmds: cmdAny, set: setVerbosity,
		note: "0 nothing, 1 errors, 2 warnings (default), 3 what is done, with times, 4 everything; bare: one more",
	},
	{
		name: "log-file", short: "o", kind: value, arg: "FILE", cmds: cmdDumpRes, set: text(func(s *settings) *string { return &s.logFile }),
		note: "write messages to FILE in the work directory; - is standard error (default)",
	},
	{
		name: "display-stats", cmds: cmdDumpRes, set: onOff(func(s *settings) *bool { return &s.displayStats }),
		note: "print times and counts at the end, as CRIU does",
	},
	{
		name: "log-pid", cmds: cmdDumpRes, fate: noop,
		note: "one process does all the work; a message about a task names it",
	},

	// Configuration files.
	{
		name: "config", kind: value, arg: "FILE", cmds: cmdAny, set: text(func(s *settings) *string { return &s.config }),
		note: "read options from FILE first",
	},
	{
		name: "no-default-config", cmds: cmdAny, set: onOff(func(s *settings) *bool { return &s.noDefaultConfig }),
		note: "do not read CRIU's default configuration files (which only trapline called as criu does)",
	},
	{
		name: "help", short: "h", cmds: cmdAny | cmdImages, set: onOff(func(s *settings) *bool { return &s.help }),
		note: "print what there is and exit",
	},
	{
		name: "version", short: "V", cmds: cmdAny, set: onOff(func(s *settings) *bool { return &s.version }),
		note: "print the version and exit",
	},

	// Ours.
	{
		name: "stages", cmds: cmdDumpRes, ours: true, set: onOff(func(s *settings) *bool { return &s.stages }),
		note: "print the table of stages: where every microsecond went",
	},
	{
		name: "json", cmds: cmdAny | cmdImages, ours: true, set: onOff(func(s *settings) *bool { return &s.json }),
		note: "print the result as JSON",
	},
	{
		name: "output", short: "o", kind: value, arg: "FORMAT", cmds: cmdCheck | cmdImages, ours: true, set: setOutput,
		note: "table (default) or json",
	},
}
