// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that SIGINT, SIGTERM or SIGHUP ends. stop gives the signals their default action back.
//
// The handlers are installed in the background, since that takes a third of a millisecond; they are there when ready returns. A signal that
// comes before ends the program as if there were none.
func interruptible() (ctx context.Context, ready, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	installed, came := make(chan struct{}), make(chan os.Signal, 1)
	go func() {
		signal.Notify(came, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		survivePipes()
		close(installed)
		select {
		case s := <-came:
			cancel(fmt.Errorf("%v signal received", s))
		case <-ctx.Done():
		}
	}()
	ready = func() { <-installed }
	return ctx, ready, func() {
		ready()
		signal.Stop(came)
		cancel(nil)
	}
}

// survivePipes keeps a reader of standard output or error that goes away from ending the program in the middle of its
// work: the runtime would raise SIGPIPE. Writes fail then, which nothing depends on. A handler, as opposed to SIG_IGN,
// is not passed on to action scripts and restored programs.
func survivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
