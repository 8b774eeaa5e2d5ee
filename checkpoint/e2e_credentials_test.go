// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

// Item 6: credentials and limits.
var credentialScenarios = []scenario{
	{name: "credentials/root", prog: "cred_ids", args: []string{"root"}, short: true},
	{name: "credentials/user", prog: "cred_ids", args: []string{"user"}, known: map[string]string{"criu-*": noSysResource}},
	{name: "credentials/user_with_caps", prog: "cred_ids", args: []string{"usercaps"}, known: map[string]string{"criu-*": noSysResource}},
	{name: "credentials/mixed", prog: "cred_ids", args: []string{"mixed"}, known: map[string]string{"criu-*": noSysResource}},
	{name: "credentials/threads", prog: "cred_ids", args: []string{"threads"}},
	{name: "limits/process", prog: "cred_limits"},
	scenario{name: "limits/prctl", prog: "cred_limits", args: []string{"more"}}.lacking("PR_MCE_KILL, PR_SET_TSC and PR_SET_IO_FLUSHER"),
	{name: "limits/personality", prog: "cred_limits", args: []string{"personality"}, known: map[string]string{
		"*-criu": "CRIU does not restore the personality",
	}},
	{name: "limits/file_size", prog: "cred_limits", args: []string{"fsize"}, known: map[string]string{
		"*-criu": "CRIU kills the target, since it writes its log with the target's file size limit",
	}},
	{name: "limits/chroot", prog: "cred_chroot"},
	{name: "seccomp/filter", prog: "seccomp", args: []string{"filter"}},
	{name: "seccomp/thread", prog: "seccomp", args: []string{"thread"}},
	{name: "seccomp/strict", prog: "seccomp", args: []string{"strict"}},
}
