// SPDX-License-Identifier: Apache-2.0

package place

import "testing"

func TestSuggestions(t *testing.T) {
	refused(t, map[string]string{
		"tracepoint:sched:sched_swich":    "did you mean tracepoint:sched:sched_switch",
		"tracepoint:shced:sched_switch":   "did you mean tracepoint:sched:sched_switch",
		"tracepoint:shced:*":              "did you mean tracepoint:sched:*",
		"tracepoint:syscalls:sched_fork":  "",
		"tracepoint:*:sched_swich":        "did you mean tracepoint:sched:sched_switch",
		"rawtp:sched_swich":               "did you mean rawtp:sched_switch",
		"syscall:opena":                   "syscall:openat",
		"sched:sched_switch":              "tracepoint:sched:sched_switch",
		"sched:sched_process_*":           "tracepoint:sched:sched_process_*",
		"uprobe:libc:fopne":               "fopen",
		"syscall:nothing_like_any_of_all": "not found",
	})
}
