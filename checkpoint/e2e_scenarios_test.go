// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import "slices"

// scenarios is everything that must survive, in the order of the table in docs/compatibility.md.
var scenarios = slices.Concat(basicScenarios)

// noSysResource is true of machines without that capability, such as those that this project is tested on.
const noSysResource = "CRIU reads limits by prlimit, which without CAP_SYS_RESOURCE fails for a task of another uid"

var basicScenarios = []scenario{
	{name: "basic/basic", short: true},
	{name: "basic/user", prog: "basic", opts: asUser(1000), known: map[string]string{"criu-*": noSysResource}},
}
