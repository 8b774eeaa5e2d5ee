// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

const (
	noDirectory = "CRIU opens a directory without O_DIRECTORY"
	noInet      = "CRIU 4.1 asks TCP and UDP sockets for SO_PASSCRED, which since Linux 6.16 is an error"
)

// Item 7: descriptors.
var descriptorScenarios = []scenario{
	fd("regular", "plain").quick(),
	fd("regular", "opath").afterCRIU(noDirectory),
	fd("regular", "directory").afterCRIU(noDirectory),
	fd("regular", "deleted"),
	fd("regular", "deleted-dir").afterCRIU(noDirectory),
	fd("regular", "renamed"),
	fd("regular", "hardlink").flags("--link-remap"),
	fd("regular", "cloexec"),
	fd("regular", "owner"),
	fd("regular", "proc").afterCRIU(noDirectory),
	fd("regular", "many"),
	fd("pipe", "data").quick(),
	fd("pipe", "oneend"),
	fd("pipe", "packet").lacking("pipes in packet mode"),
	fd("pipe", "shared"),
	fd("pipe", "full"),
	fd("pipe", "fifo"),
	fd("anon", "eventfd"),
	fd("anon", "semaphore").lacking("EFD_SEMAPHORE"),
	fd("anon", "timerfd"),
	fd("anon", "signalfd"),
	fd("anon", "epoll").quick(),
	fd("anon", "epoll_dup"),
	fd("anon", "epoll_nested"),
	fd("anon", "memfd"),
	fd("anon", "devices"),
	fd("anon", "shared").quick(),
	fd("unix", "stream").quick(),
	fd("unix", "dgram"),
	fd("unix", "seqpacket"),
	fd("unix", "rights"),
	fd("in_flight", "many"),
	fd("unix", "listen"),
	fd("unix", "abstract"),
	fd("unix", "bound"),
	fd("unix", "shared"),
	fd("unix", "connected"),
	fd("unix", "peername").afterCRIU("CRIU does not restore the address of a connected unix socket"),
	fd("inet", "listen4").withCRIU(noInet).quick(),
	fd("inet", "listen6").withCRIU(noInet),
	fd("inet", "reuseport").withCRIU(noInet),
	fd("inet", "udp").withCRIU(noInet),
	fd("inet", "unconnected").withCRIU(noInet),
	{
		name: "inet/established", prog: "fd_inet", args: []string{"established"}, dump: []string{"--tcp-close"}, restore: []string{"--tcp-close"},
		dumpOnly: true, known: map[string]string{"criu-*": noInet},
	},
}

// fd is the scenario of program fd_PROG with one argument.
func fd(prog, mode string) scenario {
	return scenario{name: prog + "/" + mode, prog: "fd_" + prog, args: []string{mode}}
}

func (s scenario) quick() scenario {
	s.short = true
	return s
}

func (s scenario) flags(both ...string) scenario {
	s.dump = both
	return s
}

// withCRIU marks what CRIU can't dump.
func (s scenario) withCRIU(why string) scenario {
	s.known = map[string]string{"criu-*": why}
	return s
}

// afterCRIU marks what CRIU can't restore.
func (s scenario) afterCRIU(why string) scenario {
	s.known = map[string]string{"*-criu": why}
	return s
}
