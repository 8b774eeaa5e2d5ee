// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// progressAfter is how long a dump or restore may take before progress is shown, and progressEvery how often.
const (
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
	logEvery      = 10 // times progressEvery between the lines that a log gets
)

// progress shows how far a dump or restore is: a bar on a terminal, else lines in the log.
type progress struct {
	verb        string
	w           io.Writer // the terminal, nil if there is none
	log         *slog.Logger
	done, total atomic.Int64
	stop, ended chan struct{}
	start       time.Time
}

// startProgress starts to watch. Standard error gets the bar if it is a terminal, and no profile is shown there.
func (a *app) startProgress(verb string, log *slog.Logger) *progress {
	stderr := a.stderr
	if a.profiler != nil {
		stderr = io.Discard
	}
	p := &progress{verb: verb, log: log, stop: make(chan struct{}), ended: make(chan struct{}), start: time.Now()}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = f
	}
	go p.show()
	return p
}

// update is what the engine calls: two stores, nothing that could make it wait.
func (p *progress) update(done, total int64) {
	p.done.Store(done)
	p.total.Store(total)
}

// finish takes the bar away.
func (p *progress) finish() {
	close(p.stop)
	<-p.ended
}

func (p *progress) show() {
	defer close(p.ended)
	first := time.NewTimer(progressAfter)
	defer first.Stop()
	select {
	case <-p.stop:
		return
	case <-first.C:
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		done, total := p.done.Load(), p.total.Load()
		if total > 0 && p.w != nil {
			fmt.Fprint(p.w, "\r"+bar(p.verb, done, total, time.Since(p.start))+"\x1b[K")
		} else if total > 0 && n%logEvery == 0 {
			p.log.Info(p.verb, "done", done, "total", total)
		}
		select {
		case <-p.stop:
			if p.w != nil {
				fmt.Fprint(p.w, "\r\x1b[K")
			}
			return
		case <-tick.C:
		}
	}
}

// barWidth is the width of the bar in columns.
const barWidth = 30

// bar draws done of total bytes: "dump [=====>    ] 512/1024 MiB 50% 480 MiB/s".
func bar(verb string, done, total int64, elapsed time.Duration) string {
	done = min(max(done, 0), total)
	part := float64(done) / float64(total)
	full := int(part * barWidth)
	line := strings.Repeat("=", full)
	if full < barWidth {
		line += ">" + strings.Repeat(" ", barWidth-full-1)
	}
	const mib = 1 << 20
	rate := 0.0
	if elapsed > 0 {
		rate = float64(done) / mib / elapsed.Seconds()
	}
	return fmt.Sprintf("%s [%s] %d/%d MiB %.0f%% %.0f MiB/s", verb, line, done/mib, total/mib, 100*part, rate)
}
