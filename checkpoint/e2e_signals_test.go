// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"testing"

	"github.com/trapline/trapline/internal/testprog"
)

const (
	sigtrap = "CRIU executes int3 in the target, for which the kernel resets an ignored SIGTRAP"
	sigchld = "sometimes: CRIU's restore loses a SIGCHLD that is pending for a thread and blocked there"
)

// Item 5: signals and time.
var signalScenarios = append([]scenario{
	{name: "signals/actions", prog: "sig_actions", short: true},
	{name: "signals/ignored_sigtrap", prog: "sig_actions", args: []string{"trap"}, known: map[string]string{
		"criu-*": sigtrap, "*-criu": sigtrap,
	}},
	{name: "signals/pending_sigtrap", prog: "sig_trap", known: map[string]string{
		"criu-*": "CRIU does not dump a thread with a pending SIGTRAP", "*-criu": "CRIU's restore takes a pending SIGTRAP for its own",
	}},
	{name: "signals/handler", prog: "sig_handler"},
	{name: "signals/pending", prog: "thread_signals"},
	{name: "signals/blocked", prog: "sig_blocked", args: []string{"main"}, known: map[string]string{"*-criu": sigchld}},
	{name: "signals/blocked_worker", prog: "sig_blocked", args: []string{"worker"}, known: map[string]string{"*-criu": sigchld}},
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

// TestE2ERegistersStay dumps programs that go on, with something in every register.
func TestE2ERegistersStay(t *testing.T) {
	for _, s := range cpuScenarios {
		if why := notHere[s.name]; why != "" {
			t.Logf("%s is not for this guest: %s", s.name, why)
			continue
		}
		t.Run(s.prog, func(t *testing.T) {
			tgt := s.begin(t)
			for range 3 {
				if err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, imagesDir(t), "-R"); err != nil {
					t.Fatal(err)
				}
			}
			if err := tgt.Verdict(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestE2ESignalsStay dumps a program that goes on: a batch ends in a signal that does nothing, which must not be one that
// is pending.
func TestE2ESignalsStay(t *testing.T) {
	for _, who := range []string{"main", "worker"} {
		t.Run(who, func(t *testing.T) {
			tgt := testprog.Start(t, mustBuild(t, "sig_blocked"), []string{who}, nil)
			tgt.Ready()
			for range 3 {
				if err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, imagesDir(t), "-R"); err != nil {
					t.Fatal(err)
				}
			}
			if err := tgt.Verdict(); err != nil {
				t.Error(err)
			}
		})
	}
}
