// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/trapline/trapline/checkpoint/stage"
	"github.com/trapline/trapline/loader/profile"
)

// A profiler is one run of trapline profile. The nil *profiler is none: its timelines are plain ones.
type profiler struct {
	app      *app
	o        profileSettings
	json     bool
	reports  []report
	recorder *profile.Recorder
	view     *profileView
	failed   error // of what comes after the operation
}

// A report is one form of the profile, and where it goes.
type report struct {
	file  *reportFile // nil: standard output, or beside a command standard error
	write func(*profile.Report, io.Writer) error
}

// profile is trapline profile: it runs a dump, a restore or a command, and says what the time of each stage went to.
func (a *app) profile(args []string) int {
	own, operation, rest, err := cutOperation(args)
	if err != nil {
		return a.fail("profile", err)
	}
	s, extra, err := a.parse(dialect{cmds: cmdProfile}, own)
	switch {
	case err != nil:
		return a.fail("profile", err)
	case s.help:
		a.commandHelp(cmdProfile)
		return exitDone
	case len(extra) > 0:
		return a.fail("profile", usagef("unexpected %q", extra[0]))
	}
	if operation == "dump" || operation == "restore" {
		for name, given := range map[string]bool{"--stages": s.profile.stages != "", "--binary": s.profile.binary != "", "--pid": len(s.profile.pids) > 0} {
			if given {
				return a.fail("profile", usagef("%s is for -- COMMAND: the stages of %s are Trapline's own", name, operation))
			}
		}
	}
	if err := profile.Check(s.profile.probes); err != nil {
		return a.fail("profile", usageError{err})
	}
	largeHeap()
	switch operation {
	case "dump", "restore", "--":
	case "diff":
		return a.profileDiff(s, rest)
	case "":
		return a.fail("profile", usagef("what is to be profiled? dump …, restore …, or -- COMMAND…; or diff A.json B.json"))
	default:
		return a.fail("profile", usagef("%q can't be profiled: want dump …, restore …, -- COMMAND…, or diff A.json B.json", operation))
	}
	p := &profiler{app: a, o: s.profile, json: s.json || s.profile.output == "json"}
	if p.o.output == "json" {
		p.o.output = ""
	}
	p.json = p.json || strings.HasSuffix(p.o.output, ".json")
	if operation == "--" {
		return p.command(rest)
	}
	cmd := cmdDump
	if operation == "restore" {
		cmd = cmdRestore
	}
	a.profiler = p
	defer p.discard()
	status := a.runCommand(cmd, rest)
	if p.failed != nil && status == exitDone {
		return exitFailed // endTimeline has said why
	}
	return status
}

// open opens everything that will be written, so that an operation does not run for a report that can't be.
func (p *profiler) open() error {
	table := func(r *profile.Report, w io.Writer) error {
		return r.WriteTable(w, profile.TableOptions{All: p.o.all, Processes: p.o.processes})
	}
	if p.json {
		table = (*profile.Report).WriteJSON
	}
	for _, r := range []struct {
		option, name string
		write        func(*profile.Report, io.Writer) error
	}{
		{"--html", p.o.html, (*profile.Report).WriteHTML},
		{"--trace-json", p.o.trace, (*profile.Report).WriteTrace},
		{"--pprof", p.o.pprof, (*profile.Report).WritePprof},
		{"--output", p.o.output, table},
	} {
		file, err := openReport(r.option, r.name)
		if err != nil {
			p.discard()
			return err
		}
		if file != nil && slices.ContainsFunc(p.reports, func(o report) bool { return o.file != nil && o.file.temp && o.file.name == file.name }) {
			file.discard()
			p.discard()
			return usagef("%s %s: another report goes there already", r.option, r.name)
		}
		if file != nil || r.option == "--output" {
			p.reports = append(p.reports, report{file, r.write})
		}
	}
	return nil
}

// discard leaves files as they were for which there is no report.
func (p *profiler) discard() {
	for _, r := range p.reports {
		r.file.discard()
	}
}

// begin opens the recorder for an operation of our own engine, of the tree of pid if it is a dump.
func (p *profiler) begin(ctx context.Context, op stage.Op, args []string, pid int) error {
	err := p.open()
	if err != nil {
		return err
	}
	p.recorder, err = profile.Open(ctx, &profile.Options{
		What: string(op), Command: args, Op: op, Probes: p.o.probes, Backend: p.o.backend,
	})
	if err != nil {
		return err
	}
	if err := p.follow(pid); err != nil {
		return errors.Join(err, p.recorder.Close())
	}
	// What placing needed is garbage now, and the operation must not pay for it.
	debug.FreeOSMemory()
	debug.SetGCPercent(gcPercent)
	p.recorder.Enable()
	p.view = startProfileView(p.recorder, p.app.stderr, string(op))
	return nil
}

// follow has this process profiled, and the tree that is dumped.
func (p *profiler) follow(pid int) error {
	if err := p.recorder.Follow(os.Getpid(), false); err != nil {
		return err
	}
	if pid == 0 {
		return nil
	}
	for _, pid := range tree(pid) {
		if err := p.recorder.Follow(pid, true); err != nil {
			return err
		}
	}
	return nil
}

// tree is a process and all below it, as far as they can be read: the engine says itself what it can't dump.
func tree(pid int) []int {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for _, word := range strings.Fields(string(text)) {
				if child, err := parseNumber(word, 1, 1<<22); err == nil {
					pids = append(pids, child)
				}
			}
		}
	}
	return pids
}

// startTimeline starts an operation's timeline; with a profile its stages are profiled from here on.
func (a *app) startTimeline(ctx context.Context, op stage.Op, pid int) (*stage.Timeline, error) {
	if a.profiler == nil {
		return stage.New(op), nil
	}
	if err := a.profiler.begin(ctx, op, a.args, pid); err != nil {
		return nil, err
	}
	return a.profiler.recorder.Timeline(), nil
}

// endTimeline ends what startTimeline began, and shows the profile of an operation that came to its end. What fails here does not
// undo the operation.
func (a *app) endTimeline(failed error) {
	p := a.profiler
	if p == nil || p.recorder == nil {
		return
	}
	p.view.finish()
	if failed != nil {
		p.failed = p.recorder.Close()
		return
	}
	report, err := p.recorder.Stop()
	if err == nil {
		err = p.show(report, p.app.stdout)
	}
	if p.failed = err; err != nil {
		p.app.fail("profile", err)
	}
}

// show writes the report in all forms that were asked for. out is where it goes if no file was named.
func (p *profiler) show(r *profile.Report, out io.Writer) error {
	var errs []error
	for _, form := range p.reports {
		write := func(w io.Writer) error { return form.write(r, w) }
		if form.file == nil {
			errs = append(errs, write(out))
			continue
		}
		errs = append(errs, form.file.write(write))
	}
	return errors.Join(errs...)
}

// command profiles another program by its stage map, and passes its exit status on.
func (p *profiler) command(command []string) int {
	if len(command) == 0 {
		return p.app.fail("profile", usagef("a command is missing behind --"))
	}
	defer p.discard()
	status, err := p.runCommand(command)
	if err != nil {
		failed := p.app.fail("profile", err)
		if status == exitDone { // else the command's own, which says more
			return failed
		}
	}
	return status
}

func (p *profiler) runCommand(command []string) (status int, err error) {
	m, err := p.stageMap(command)
	if err != nil {
		return 0, err
	}
	if err := p.open(); err != nil {
		return 0, err
	}
	ctx, stop := untilSignal()
	what := strings.TrimSpace(filepath.Base(command[0]) + " " + m.Section)
	p.recorder, err = profile.Open(ctx, &profile.Options{
		What: what, Command: command, Map: m, Probes: p.o.probes, Backend: p.o.backend,
	})
	stop()
	if err != nil {
		return 0, err
	}
	if err := (&tasks{}).open(p.o.pids); err != nil {
		return 0, errors.Join(err, p.recorder.Close())
	}
	for _, pid := range slices.Concat(p.o.pids, dumped(m, command)) {
		for _, pid := range tree(pid) {
			if err := p.recorder.Follow(pid, true); err != nil {
				return 0, errors.Join(err, p.recorder.Close())
			}
		}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endSignals...)
	defer signal.Stop(signals)
	p.recorder.Enable()
	k := &tasks{}
	if err := k.launch(p.recorder, command); err != nil {
		return 0, errors.Join(err, p.recorder.Close())
	}
	for running := true; running; {
		select {
		case <-k.ended:
			running = false
		case sig := <-signals:
			_, err = k.signal(sig)
		}
	}
	signal.Stop(signals) // from here on one ends this program
	k.wait()
	report, stopErr := p.recorder.Stop()
	if err = errors.Join(err, stopErr); err != nil {
		return k.status, err
	}
	if k.status != exitDone {
		report.Warnings = append([]string{fmt.Sprintf("%s ended with status %d: this is what it did until then", command[0], k.status)}, report.Warnings...)
	}
	out := p.app.stderr // the other one is the command's
	if p.json {
		out = p.app.stdout
	}
	return k.status, p.show(report, out)
}
