// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint"
)

// hooks does what the caller wants done during a dump or a restore: action scripts and the pid file.
type hooks struct {
	s    *settings
	a    *app
	log  *slog.Logger
	root int // PID of the root task, once it is known

	pidWritten bool
}

// hook gives the engine's hook, nil if there is nothing to do.
func (h *hooks) hook() checkpoint.Hook {
	if len(h.s.scripts) == 0 && h.s.pidfile == "" {
		return nil
	}
	return h.at
}

func (h *hooks) at(ctx context.Context, at checkpoint.Action, root int) error {
	if root != 0 {
		h.root = root
	}
	if at == checkpoint.ActionPostRestore && h.s.pidfile != "" {
		if err := writePidfile(h.s.work(h.s.pidfile), root); err != nil {
			return err
		}
		h.pidWritten = true
	}
	for _, script := range h.s.scripts {
		if err := h.run(ctx, script, at); err != nil {
			return err
		}
	}
	return nil
}

// undo takes back what was written for a restore that then failed.
func (h *hooks) undo() {
	if h.pidWritten {
		os.Remove(h.s.work(h.s.pidfile))
	}
}

// run runs one script through the shell, in the work directory and with CRIU's variables in its environment.
func (h *hooks) run(ctx context.Context, script string, at checkpoint.Action) error {
	images, err := filepath.Abs(h.s.imagesDir)
	if err != nil {
		return fmt.Errorf("directory of the images: %w", err)
	}
	h.log.Debug("running action script", "script", script, "action", string(at))
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Dir = h.s.workPath()
	cmd.Stdout, cmd.Stderr = h.a.stdout, h.a.stderr
	cmd.Env = append(os.Environ(), "CRTOOLS_SCRIPT_ACTION="+string(at), "CRTOOLS_IMAGE_DIR="+images)
	if h.root != 0 {
		cmd.Env = append(cmd.Env, "CRTOOLS_INIT_PID="+strconv.Itoa(h.root))
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("action script %s: %w", script, err) // the engine says at which moment
	}
	return nil
}

// writePidfile writes a PID without a newline, as CRIU does. A file that is there already is somebody else's.
func writePidfile(name string, pid int) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	_, err = f.WriteString(strconv.Itoa(pid))
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		os.Remove(name)
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// pidfileFree makes sure that the file of --pidfile can be made, before there is a process to write down.
func pidfileFree(s *settings) error {
	if s.pidfile == "" {
		return nil
	}
	if _, err := os.Lstat(s.work(s.pidfile)); err == nil {
		return fmt.Errorf("pid file %s: %w: remove it, or name another", s.work(s.pidfile), fs.ErrExist)
	}
	return nil
}

// signalStatus writes the zero byte to --status-fd and closes it.
func signalStatus(s *settings) error {
	if s.statusFD < 0 {
		return nil
	}
	_, err := unix.Write(s.statusFD, []byte{0})
	if err2 := unix.Close(s.statusFD); err == nil {
		err = err2
	}
	if err != nil {
		return fmt.Errorf("--status-fd %d: %w", s.statusFD, err)
	}
	return nil
}
