// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/trapline/trapline/checkpoint"
	"github.com/trapline/trapline/checkpoint/stage"
)

// dump is trapline dump.
func (a *app) dump(s *settings) int {
	if s.tree == 0 {
		return a.fail("dump", usagef("pid not specified: which tree? (--tree PID)"))
	}
	checkpoint.Warm()
	ctx, ready, stop := interruptible()
	defer stop()
	log, err := a.begin(s)
	ready() // before anything is printed
	if err != nil {
		return a.failLogged("dump", s, &logging{}, err, "Dumping FAILED.")
	}
	defer log.Close()

	timeline, err := a.startTimeline(ctx, stage.Dump, s.tree)
	if err != nil {
		return a.failLogged("dump", s, log, err, "Dumping FAILED.")
	}
	bar := a.startProgress("dump", log.Logger)
	h := &hooks{s: s, a: a, log: log.Logger, root: s.tree}
	result, err := engineDump(ctx, s.tree, &checkpoint.DumpOptions{
		ImagesDir:      s.imagesDir,
		Overwrite:      a.asCRIU,
		WorkDir:        s.workDir,
		LeaveRunning:   s.leaveRunning,
		LeaveStopped:   s.leaveStopped,
		ShellJob:       s.shellJob,
		TCPClose:       s.tcpClose,
		SkipInFlight:   s.skipInFlight,
		ExtUnixSk:      s.extUnixSk,
		FileLocks:      s.fileLocks,
		LinkRemap:      s.linkRemap,
		GhostLimit:     s.ghostLimit,
		External:       s.external,
		ManageCgroups:  s.manageCgroups,
		CPUCap:         s.cpuCap,
		FileValidation: s.fileValidation,
		Timeout:        s.timeout,
		Hook:           h.hook(),
		Timeline:       timeline,
		Log:            log.Logger,
		Progress:       bar.update,
	})
	bar.finish()
	if err != nil {
		a.endTimeline(err)
		return a.failLogged("dump", s, log, err, "Dumping FAILED.")
	}
	// From here on the checkpoint is complete: what fails now does not undo it.
	if err := signalStatus(s); err != nil {
		log.Warn(err.Error())
	}
	log.Info("Dumping finished successfully")
	a.endTimeline(nil)
	a.report(log.Logger, s, timeline.Report(), dumpReport{
		Pid: s.tree, ImagesDir: s.imagesDir, Frozen: result.Frozen,
		Processes: result.Processes, Threads: result.Threads, Pages: result.Pages, Bytes: result.Bytes,
	})
	return exitDone
}

// preDump is trapline pre-dump.
func (a *app) preDump(s *settings) int {
	if s.tree == 0 {
		return a.fail("pre-dump", usagef("pid not specified: which tree? (--tree PID)"))
	}
	return a.fail("pre-dump", fmt.Errorf("pid %d: pre-dump is %w yet: dumps are always whole ones; use dump --leave-running",
		s.tree, checkpoint.ErrNotSupported))
}

// begin does what comes before every command: close what is to be closed, open the log.
func (a *app) begin(s *settings) (*logging, error) {
	if err := s.closeAll(); err != nil {
		return nil, err
	}
	return openLog(s, a.stderr)
}

// failLogged tells the log and the user about an error, each once, and --json.
func (a *app) failLogged(what string, s *settings, log *logging, err error, last string) int {
	if s.json {
		_ = writeJSON(a.stdout, failureReport{Error: err.Error()})
	}
	if log.file != nil {
		log.Error(err.Error())
		if a.asCRIU {
			log.Error(last)
		}
	}
	status := a.fail(what, err)
	if a.asCRIU {
		a.fail("", errors.New(last))
	}
	return status
}

// closeFD closes a descriptor that was open when the program started.
func closeFD(fd int) error { return syscall.Close(fd) }
