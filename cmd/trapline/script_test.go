// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/trapline/trapline/checkpoint"
	"github.com/trapline/trapline/checkpoint/stage"
)

func TestMain(m *testing.M) {
	run := func() {
		if name := os.Getenv("TEST_ENGINE"); name != "" {
			useFakeEngine(name)
		}
		main()
	}
	testscript.Main(m, map[string]func(){"trapline": run, "criu": run})
}

// TestScripts runs the command lines in testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// useFakeEngine puts an engine in place that writes the options it gets to a file, as JSON, and does no more than
// call the hook. $TEST_FAIL makes it fail, $TEST_COMMAND is what it "restores".
func useFakeEngine(file string) {
	record := func(opts any) error {
		data, v := map[string]any{}, reflect.ValueOf(opts).Elem()
		for i := range v.NumField() {
			if k := v.Field(i).Kind(); k != reflect.Func && k != reflect.Pointer {
				data[v.Type().Field(i).Name] = v.Field(i).Interface()
			}
		}
		text, err := json.MarshalIndent(data, "", " ")
		if err != nil {
			return err
		}
		return os.WriteFile(file, text, 0o644)
	}
	call := func(ctx context.Context, hook checkpoint.Hook, root int, at ...checkpoint.Action) error {
		for _, a := range at {
			if hook == nil {
				continue
			}
			if err := hook(ctx, a, root); err != nil {
				return err
			}
		}
		return nil
	}
	fail := func() error {
		if text := os.Getenv("TEST_FAIL"); text != "" {
			return errors.New(text)
		}
		return nil
	}
	engineDump = func(ctx context.Context, pid int, o *checkpoint.DumpOptions) (*checkpoint.DumpResult, error) {
		hook, span := o.Hook, o.Timeline.Begin(stage.Pages, pid)
		span.Add(stage.Counts{Pages: 3, Bytes: 12288})
		span.End()
		o.Log.Info("dumping", "pid", pid)
		o.Progress(1, 2)
		err := errors.Join(record(o), fail(), call(ctx, hook, pid, checkpoint.ActionPreDump, checkpoint.ActionPostDump))
		return &checkpoint.DumpResult{Processes: 1, Threads: 2, Pages: 3, Bytes: 12288}, err
	}
	engineRestore = func(ctx context.Context, o *checkpoint.RestoreOptions) (*checkpoint.RestoreResult, error) {
		hook, span := o.Hook, o.Timeline.Begin(stage.Fork, 0)
		span.End()
		if err := errors.Join(record(o), fail(), call(ctx, hook, 0, checkpoint.ActionPreRestore)); err != nil {
			return nil, err
		}
		cmd := exec.Command("/bin/sh", "-c", os.Getenv("TEST_COMMAND"))
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		err := call(ctx, hook, cmd.Process.Pid, checkpoint.ActionPostRestore, checkpoint.ActionPreResume, checkpoint.ActionPostResume)
		if err != nil {
			return nil, errors.Join(err, cmd.Process.Kill(), fmt.Errorf("ended: %w", cmd.Wait()))
		}
		return &checkpoint.RestoreResult{RootPid: cmd.Process.Pid, Processes: 1, Wait: func() (syscall.WaitStatus, error) {
			_ = cmd.Wait() // its error says no more than the status
			return cmd.ProcessState.Sys().(syscall.WaitStatus), nil
		}}, nil
	}
}
