// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import "slices"

// scenarios is everything that must survive, in the order of the table in docs/compatibility.md.
var scenarios = slices.Concat(basicScenarios, treeScenarios, threadScenarios, memoryScenarios, cpuScenarios, signalScenarios, credentialScenarios, descriptorScenarios, programScenarios)

// noSysResource is true of machines without that capability, such as those that this project is tested on.
const noSysResource = "CRIU reads limits by prlimit, which without CAP_SYS_RESOURCE fails for a task of another uid"

var basicScenarios = []scenario{
	{name: "basic/basic", short: true},
	{name: "basic/user", prog: "basic", opts: asUser(1000), known: map[string]string{"criu-*": noSysResource}},
}

// Item 1: trees.
var treeScenarios = []scenario{
	{name: "tree/children", prog: "tree_children", short: true},
	{name: "tree/sessions", prog: "tree_sessions"},
	{name: "tree/zombies", prog: "tree_zombies", short: true},
	{name: "tree/zombies_odd", prog: "tree_zombies", args: []string{"odd"}, known: map[string]string{
		"*-criu": "CRIU gives a zombie only 7 bits of its exit status and no real-time signal",
	}},
	{name: "tree/stopped", prog: "tree_stopped"},
	{name: "tree/orphans", prog: "tree_orphans"},
	{name: "tree/dead_leaders", prog: "tree_dead_leaders", known: map[string]string{
		"*-criu": "CRIU makes a task whose session leader is dead a child of init instead of the subreaper",
	}},
	{name: "tree/deep", prog: "tree_deep"},
	{name: "tree/many_fds", prog: "tree_many_fds"},
	{name: "tree/names", prog: "tree_names", args: []string{"argument", "another one", ""}},
	{name: "tree/exec", prog: "tree_exec"},
}

const noThreadAttrs = "CRIU's images have no affinity, timer slack and I/O priority of threads"

// Item 2: threads.
var threadScenarios = []scenario{
	{name: "threads/1", prog: "threads", args: []string{"1"}},
	{name: "threads/50", prog: "threads", args: []string{"50"}, short: true},
	{name: "threads/1000", prog: "threads", args: []string{"1000"}},
	{name: "threads/attributes", prog: "threads", args: []string{"30", "extra"}, known: map[string]string{
		"criu-*": noThreadAttrs, "*-criu": noThreadAttrs,
	}},
	{name: "threads/groups", prog: "thread_groups", known: map[string]string{"criu-*": "CRIU's buffer for /proc/PID/status is too small"}},
	{name: "threads/robust", prog: "thread_robust"},
	{name: "threads/gaps", prog: "thread_gaps"},
}

const noAMX = "CRIU's images have no AMX tiles"

// Item 4: CPU state.
var cpuScenarios = []scenario{
	{name: "cpu/registers", prog: "cpu_regs", short: true},
	{name: "cpu/segments", prog: "cpu_segments"},
	{name: "cpu/vector", prog: "cpu_vector"},
	{name: "cpu/amx", prog: "cpu_amx", known: map[string]string{"criu-*": noAMX, "*-criu": noAMX}},
}
