// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/trapline/trapline/loader/profile"
	"github.com/trapline/trapline/probes"
)

// viewEvery is how often the table is drawn while an operation runs: seldom, as it takes time from it.
const viewEvery = 250 * time.Millisecond

// A profileView is the table that is redrawn while the operation runs. The nil *profileView is none.
type profileView struct {
	recorder *profile.Recorder
	out      *output
	screen   *screen
	what     string
	began    time.Time
	stop     chan struct{}
	ended    chan struct{}
}

// startProfileView shows the table on standard error if that is a terminal.
func startProfileView(r *profile.Recorder, stderr io.Writer, what string) *profileView {
	file, ok := stderr.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	v := &profileView{
		recorder: r, out: &output{file: file, terminal: true}, what: what, began: time.Now(),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	v.screen = openScreen(file, false)
	ready := make(chan struct{})
	go v.run(ready)
	<-ready
	return v
}

// run draws, on a thread of its own, which is not part of the profile.
func (v *profileView) run(ready chan<- struct{}) {
	defer close(v.ended)
	v.recorder.Own()
	close(ready)
	tick := time.NewTicker(viewEvery)
	defer tick.Stop()
	for err := v.draw(); err == nil; err = v.draw() { // with an error the terminal is gone; the operation goes on
		select {
		case <-v.stop:
			return
		case <-v.screen.stopped():
			v.screen.suspend()
		case <-v.screen.continued():
			v.screen.renew()
		case <-v.screen.resized():
		case <-tick.C:
		}
	}
}

func (v *profileView) draw() error {
	width, height := v.out.size()
	running := v.recorder.Running()
	if running == "" {
		running = "-"
	}
	table := probes.Table{Elapsed: time.Since(v.began), Time: time.Now(), Rows: v.recorder.Rows()}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, stage %s\n", v.what, probes.FormatNS(float64(table.Elapsed)), running)
	if err := table.WriteText(&b, width, max(height-2, 1)); err != nil {
		return err
	}
	return v.screen.draw(b.String(), width, height)
}

// finish takes the table away: the final one takes its place.
func (v *profileView) finish() {
	if v == nil {
		return
	}
	close(v.stop)
	<-v.ended
	v.screen.close()
	_ = v.screen.clear(v.out.width())
}
