// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/trapline/trapline/checkpoint/stage"
)

// dumpReport is what trapline dump --json prints, with the stages.
type dumpReport struct {
	Pid       int           `json:"pid"`
	ImagesDir string        `json:"images_dir"`
	Frozen    time.Duration `json:"frozen_ns"`
	Processes int           `json:"processes"`
	Threads   int           `json:"threads"`
	Pages     int64         `json:"pages"`
	Bytes     int64         `json:"bytes"`
}

// restoreReport is what trapline restore --json prints, with the stages.
type restoreReport struct {
	Pid       int    `json:"pid"`
	ImagesDir string `json:"images_dir"`
	Processes int    `json:"processes"`
	Threads   int    `json:"threads"`
	Pages     int64  `json:"pages"`
	Bytes     int64  `json:"bytes"`
}

// failureReport is what --json prints if a dump or restore fails.
type failureReport struct {
	Error string `json:"error"`
}

// report prints what the options ask for at the end of a dump or restore, which has succeeded: if nobody reads it, that
// changes nothing.
func (a *app) report(log *slog.Logger, s *settings, stages stage.Report, result any) {
	var err error
	if s.json {
		err = writeJSON(a.stdout, struct {
			Result any          `json:"result"`
			Stages stage.Report `json:"timeline"`
		}{result, stages})
	} else if s.stages {
		err = stages.WriteTable(a.stdout)
	}
	if err == nil && s.displayStats {
		err = writeStats(a.stdout, stages)
	}
	if err != nil {
		log.Warn("the result is not printed", "err", err)
	}
}

// writeJSON prints a value as indented JSON.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeStats prints what --display-stats of CRIU prints, in its words: scripts read it.
func writeStats(w io.Writer, r stage.Report) error {
	us := func(n stage.Name) int64 { return r.Of(n).Dur.Microseconds() }
	if r.Op == stage.Restore {
		_, err := fmt.Fprintf(w, "Displaying restore stats:\nPages restored: %d (%#[1]x)\nRestore time: %d us\nForking time: %d us\n",
			r.Of(stage.Pages).Pages, r.Total.Microseconds(), us(stage.Fork))
		return err
	}
	pages := r.Of(stage.Pages)
	_, err := fmt.Fprintf(w, "Displaying dump stats:\nFreezing time: %d us\nFrozen time: %d us\nMemory dump time: %d us\n"+
		"Memory write time: %d us\nMemory pages written: %d (%#[5]x)\n",
		us(stage.Freeze), r.Frozen.Microseconds(), us(stage.Pages), us(stage.Pages), pages.Pages)
	return err
}
