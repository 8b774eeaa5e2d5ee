// SPDX-License-Identifier: Apache-2.0

// Command init is process 1 of a test guest (see package vm). It makes the host's file system the guest's root, then
// starts itself once more as the agent that runs commands, and reaps whatever is orphaned. When the agent ends, the
// guest powers off.
package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		if err := agent(); err != nil {
			fmt.Fprintln(os.Stderr, "trapline guest: agent:", err)
			os.Exit(1)
		}
		return
	}
	if err := boot(); err != nil {
		fmt.Fprintln(os.Stderr, "trapline guest: init:", err)
	}
	unix.Sync()
	// -no-reboot makes QEMU end at a restart, which is faster than powering off through ACPI and works without it.
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Fprintln(os.Stderr, "trapline guest: init: reboot:", err)
	}
	select {}
}

// boot runs in process 1 until the agent ends.
func boot() error {
	setup, err := prepare()
	if err != nil {
		return err
	}
	agent, err := syscall.ForkExec(selfPath, []string{"trapline-agent"}, &syscall.ProcAttr{
		Dir: "/", Env: setup.Env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	for {
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		switch {
		case pid == agent:
			return nil
		case err != nil && !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("wait: %w", err)
		}
	}
}
