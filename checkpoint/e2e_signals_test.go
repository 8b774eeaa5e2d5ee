// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

const sigtrap = "CRIU executes int3 in the target, for which the kernel resets an ignored SIGTRAP"

// Item 5: signals and time.
var signalScenarios = append([]scenario{
	{name: "signals/actions", prog: "sig_actions", short: true},
	{name: "signals/ignored_sigtrap", prog: "sig_actions", args: []string{"trap"}, known: map[string]string{
		"criu-*": sigtrap, "*-criu": sigtrap,
	}},
	{name: "signals/handler", prog: "sig_handler"},
	{name: "signals/pending", prog: "thread_signals"},
	{name: "time/itimers", prog: "time_itimers"},
	{name: "time/posix_timers", prog: "time_posix", ignore: []string{"status"}}, // signals become pending all the while
}, syscallScenarios()...)

// syscallScenarios has one scenario for each system call that a thread is blocked in.
func syscallScenarios() []scenario {
	var list []scenario
	for _, name := range []string{
		"nanosleep", "clock_nanosleep", "clock_nanosleep_abs", "poll", "poll_timeout", "poll_forever", "ppoll", "select",
		"pselect", "epoll_wait", "futex", "futex_timeout", "futex_bitset", "read_pipe", "write_pipe", "accept", "recv",
		"recvmsg_waitall", "wait4", "waitid", "sigsuspend", "pause", "sigtimedwait",
	} {
		list = append(list, scenario{name: "interrupted/" + name, prog: "syscalls", args: []string{name}, short: name == "futex"})
	}
	return list
}
