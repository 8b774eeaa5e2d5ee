// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endSignals are those that end a trace.
var endSignals = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}

// untilSignal gives a context that the first of endSignals ends. The second ends the program, whatever it is doing. stop, to be
// called once, gives all of them their default action back.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	came := make(chan os.Signal, 4)
	signal.Notify(came, endSignals...)
	go func() {
		for sig := range came {
			if ctx.Err() != nil {
				die(sig)
			}
			cancel()
		}
	}()
	return ctx, func() {
		signal.Stop(came)
		close(came)
	}
}

// signal does what a signal asks for. With a command it goes to the command, whose end is the end of the trace; the second one
// kills it. Without one that runs it ends the trace; the second one ends the program at once. The first one never does: Ctrl-C
// may have ended the command before it is seen here. It has a goroutine of its own, as the trace may wait for whoever
// reads what it writes.
func (t *tracer) signal(sig os.Signal) {
	passed, err := t.tasks.signal(sig)
	if err != nil {
		t.log.Warn("the signal can't be passed on", "err", err)
	}
	if passed {
		return
	}
	if t.interrupted || t.tasks.killed {
		t.screen.abandon()
		die(sig)
	}
	t.interrupted = true
	t.asked <- sig
}

// dieWithin is how long the default action of a signal has to end the program. It does nothing to the first process of a
// namespace, or if whoever started the program ignores the signal.
const dieWithin = 200 * time.Millisecond

// die ends the program as the signal would have without a handler. Probes and descriptors end with the process.
func die(sig os.Signal) {
	number, _ := sig.(syscall.Signal)
	if number != unix.SIGQUIT { // which prints every goroutine
		signal.Reset(sig)
		if unix.Kill(os.Getpid(), number) == nil {
			<-time.After(dieWithin)
		}
	}
	os.Exit(128 + int(number))
}
