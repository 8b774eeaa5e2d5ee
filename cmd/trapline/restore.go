// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/trapline/trapline/checkpoint"
	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/stage"
)

// restore is trapline restore. command is what --exec-cmd runs.
func (a *app) restore(s *settings, command []string) int {
	if err := restoreUsage(s, command); err != nil {
		return a.fail("restore", err)
	}
	go image.Warm() // while the other CPU is idle
	ctx, ready, stop := interruptible()
	defer stop()
	log, err := a.begin(s)
	ready() // before anything is printed
	if err != nil {
		return a.failLogged("restore", s, &logging{}, err, "Restoring FAILED.")
	}
	defer log.Close()

	if err := pidfileFree(s); err != nil {
		return a.failLogged("restore", s, log, err, "Restoring FAILED.")
	}
	timeline, err := a.startTimeline(ctx, stage.Restore, 0)
	if err != nil {
		return a.failLogged("restore", s, log, err, "Restoring FAILED.")
	}
	bar := a.startProgress("restore", log.Logger)
	h := &hooks{s: s, a: a, log: log.Logger}
	result, err := engineRestore(ctx, &checkpoint.RestoreOptions{
		ImagesDir:        s.imagesDir,
		WorkDir:          s.workDir,
		Detach:           s.detach,
		LeaveStopped:     s.leaveStopped,
		ShellJob:         s.shellJob,
		Root:             s.root,
		TCPClose:         s.tcpClose,
		ExtUnixSk:        s.extUnixSk,
		FileLocks:        s.fileLocks,
		LinkRemap:        s.linkRemap,
		InheritFD:        s.inheritFD,
		External:         s.external,
		ManageCgroups:    s.manageCgroups,
		CPUCap:           s.cpuCap,
		FileValidation:   s.fileValidation,
		SkipFileRWXCheck: s.skipFileRWXCheck,
		Hook:             h.hook(),
		Timeline:         timeline,
		Log:              log.Logger,
		Progress:         bar.update,
	})
	bar.finish()
	if err != nil {
		a.endTimeline(err)
		h.undo()
		return a.failLogged("restore", s, log, err, "Restoring FAILED.")
	}
	if s.leaveStopped {
		log.Info("Restore finished successfully. Tasks left in stopped state")
	} else {
		log.Info("Restore finished successfully. Tasks resumed.")
	}
	// From here on the tree runs: what fails now does not undo it.
	if err := signalStatus(s); err != nil {
		log.Warn(err.Error())
	}
	a.endTimeline(nil)
	a.report(log.Logger, s, timeline.Report(), restoreReport{
		Pid: result.RootPid, ImagesDir: s.imagesDir,
		Processes: result.Processes, Threads: result.Threads, Pages: result.Pages, Bytes: result.Bytes,
	})
	switch {
	case s.execCmd:
		stop()
		return a.failLogged("restore", s, log, become(s, command), "Restoring FAILED.")
	case s.detach || result.Wait == nil:
		return exitDone
	}
	stop()
	return a.wait(s, result, log)
}

// restoreUsage checks what the options say together.
func restoreUsage(s *settings, command []string) error {
	switch {
	case s.execCmd && s.detach:
		return usagef("--restore-detached and --exec-cmd cannot be used together")
	case s.execCmd && len(command) == 0:
		return usagef("--exec-cmd requires a command after --")
	}
	return nil
}

// become replaces this program by the command of --exec-cmd. It returns only if that fails.
func become(s *settings, command []string) error {
	if err := os.Chdir(s.workPath()); err != nil {
		return fmt.Errorf("--exec-cmd: work directory: %w", err)
	}
	path, err := exec.LookPath(command[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return fmt.Errorf("--exec-cmd: %w", err)
	}
	return fmt.Errorf("--exec-cmd: %s: %w", path, syscall.Exec(path, command, os.Environ()))
}

// wait waits for the root task and gives its exit status, 128 and its signal if one ended it. CRIU waits too, but
// gives 0.
func (a *app) wait(s *settings, result *checkpoint.RestoreResult, log *logging) int {
	// The restored tree may be the terminal's foreground job: what is typed is for it.
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT)
	ws, err := result.Wait()
	switch {
	case err != nil:
		return a.failLogged("restore", s, log, fmt.Errorf("wait for pid %d: %w", result.RootPid, err), "Restoring FAILED.")
	case a.asCRIU:
		return exitDone
	case ws.Signaled():
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
