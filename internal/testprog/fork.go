// SPDX-License-Identifier: Apache-2.0

package testprog

import (
	"fmt"
	"os"
	"syscall"
)

// forkExec executes this binary again with the descriptors files as 0, 1, 2 …, in a session of its own.
func forkExec(args, env []string, files []uintptr) (int, error) {
	pid, err := syscall.ForkExec("/proc/self/exe", args, &syscall.ProcAttr{
		Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, fmt.Errorf("testprog: execute %s: %w", os.Args[0], err)
	}
	return pid, nil
}
