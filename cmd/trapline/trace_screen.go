// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/trapline/trapline/internal/columns"
	"github.com/trapline/trapline/probes"
)

// Control sequences (ECMA-48; the cursor's are DEC's).
const (
	hideCursor = "\x1b[?25l"
	home       = "\x1b[H"
	showCursor = "\x1b[?25h"
	eraseLine  = "\x1b[K" // from the cursor on
	eraseBelow = "\x1b[J"
)

// A screen is a table that is redrawn in place, below what the terminal showed before, so that the last one stays there.
// The nil *screen is none.
type screen struct {
	out    *os.File
	frame  []string       // lines of the last frame; the cursor stands behind them
	width  int            // of the terminal then
	size   chan os.Signal // SIGWINCH: the terminal may look different
	stop   chan os.Signal // SIGTSTP: Ctrl-Z
	cont   chan os.Signal // SIGCONT: others may have used the terminal since
	keys   chan byte      // nil if no keys are read
	input  int            // the terminal that keys come from
	before *unix.Termios  // its modes, to be restored; nil if they are not changed

	mu     sync.Mutex // held while the terminal is changed or drawn on: that may wait for it
	taken  bool       // the terminal is not as it was
	closed bool
}

// openScreen begins a screen. keys says whether keys may be read: not if standard input is someone else's.
func openScreen(out *os.File, keys bool) *screen {
	s := &screen{
		out: out, input: int(os.Stdin.Fd()),
		size: make(chan os.Signal, 1), stop: make(chan os.Signal, 1), cont: make(chan os.Signal, 1),
	}
	signal.Notify(s.size, unix.SIGWINCH)
	signal.Notify(s.cont, unix.SIGCONT)
	// What is stopped is continued by the shell that started it. Where the program is its terminal's only one there is none.
	if session, err := unix.Getsid(0); err == nil && session != unix.Getpgrp() && !signal.Ignored(unix.SIGTSTP) {
		signal.Notify(s.stop, unix.SIGTSTP)
	}
	if keys && term.IsTerminal(s.input) && inForeground() {
		s.readKeys()
	}
	var b strings.Builder
	if s.take(&b) {
		out.WriteString(b.String())
	}
	return s
}

// readKeys has single keys sent to s.keys. Ctrl-C and Ctrl-Z go on to be signals, and output stays as it is: that is
// less than a raw terminal, and nothing is lost if the program is killed but echo.
func (s *screen) readKeys() {
	before, err := unix.IoctlGetTermios(s.input, unix.TCGETS)
	if err != nil {
		return
	}
	s.before = before
	s.keys = make(chan byte)
	go func() { // it ends with the program: nothing can interrupt the read
		var key [1]byte
		for {
			if n, err := os.Stdin.Read(key[:]); err != nil || n == 0 {
				return
			}
			s.keys <- key[0]
		}
	}()
}

// take has the terminal give single keys and not show them, and b hide the cursor: each time, as a shell may have changed it
// while the program was stopped. It says no if the terminal is someone else's, in the background or after the end.
func (s *screen) take(b *strings.Builder) bool {
	if s.closed || s.before != nil && !inForeground() {
		return false
	}
	s.taken = true
	if s.before != nil {
		modes := *s.before
		modes.Lflag &^= unix.ICANON | unix.ECHO
		modes.Cc[unix.VMIN], modes.Cc[unix.VTIME] = 1, 0
		_ = unix.IoctlSetTermios(s.input, unix.TCSETS, &modes) // keys are a convenience
	}
	b.WriteString(hideCursor)
	return true
}

// restore gives the terminal back as it was.
func (s *screen) restore() {
	if !s.taken {
		return
	}
	s.taken = false
	s.restoreModes()
	s.out.WriteString(showCursor)
}

// restoreModes undoes take, but for the cursor. In the background the shell has done it, and the terminal is the shell's.
func (s *screen) restoreModes() {
	if s.before != nil && inForeground() {
		_ = unix.IoctlSetTermios(s.input, unix.TCSETS, s.before) // there is nothing else to do about it
	}
}

// abandonWithin is how long a terminal that takes no output may hold up the end of the program.
const abandonWithin = 200 * time.Millisecond

// abandon gives the terminal back while another goroutine may be drawing; nothing is drawn any more.
func (s *screen) abandon() {
	if s == nil {
		return
	}
	s.restoreModes() // also if the cursor can't be shown again
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.close()
	}()
	select {
	case <-done:
	case <-time.After(abandonWithin):
	}
}

// suspend stops the program, as Ctrl-Z asks for, and returns when it goes on. The next frame is drawn below what the terminal
// shows then.
func (s *screen) suspend() {
	s.mu.Lock()
	s.restore()
	s.mu.Unlock()
	select {
	case <-s.cont: // an old one
	default:
	}
	// SIGTSTP would do nothing: the runtime keeps its handler. Sent to the own thread, a signal is there when the call returns.
	runtime.LockOSThread()
	err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
	runtime.UnlockOSThread()
	if err == nil {
		<-s.cont
	}
	s.renew()
}

// A program that goes on waits settleRounds times settleTime before it draws.
const (
	settleRounds = 4
	settleTime   = 5 * time.Millisecond
)

// renew has the next frame drawn below what the terminal shows, as others have used it. In the background (bg) the reading of keys
// stops the program again at once, so that after fg it may see two signals: without the wait, the second would have one more table
// drawn below that of the first.
func (s *screen) renew() {
	for range settleRounds {
		select {
		case <-s.cont:
		case <-time.After(settleTime):
		}
	}
	s.frame = nil
}

// stopped gives a signal when the program should stop.
func (s *screen) stopped() <-chan os.Signal {
	if s == nil {
		return nil
	}
	return s.stop
}

// continued gives a signal when the program was stopped and goes on.
func (s *screen) continued() <-chan os.Signal {
	if s == nil {
		return nil
	}
	return s.cont
}

// pressed gives the keys.
func (s *screen) pressed() <-chan byte {
	if s == nil {
		return nil
	}
	return s.keys
}

// resized gives a signal when the terminal may look different.
func (s *screen) resized() <-chan os.Signal {
	if s == nil {
		return nil
	}
	return s.size
}

// draw puts a frame in place of the last one, in one write. No line may be wider than width; lines that the terminal has
// no room for are left out, as what scrolls away can't be redrawn.
func (s *screen) draw(text string, width, height int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	if !s.take(&b) {
		return nil
	}
	s.up(&b, width)
	s.frame = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	s.frame = s.frame[:min(len(s.frame), max(height-1, 1))] // the cursor stands in the line below
	for _, line := range s.frame {
		b.WriteString(line + eraseLine + "\n")
	}
	b.WriteString(eraseBelow)
	_, err := s.out.WriteString(b.String())
	return err
}

// up moves the cursor to the first line of the last frame. A terminal that has become narrower may have broken its lines, and
// nobody knows where: then the frame begins at the top of an empty screen.
func (s *screen) up(b *strings.Builder, width int) {
	narrower := width < s.width
	s.width = width
	switch {
	case narrower:
		b.WriteString(home + eraseBelow)
	case len(s.frame) > 0:
		b.WriteString("\x1b[" + strconv.Itoa(len(s.frame)) + "A\r")
	default:
		b.WriteByte('\r')
	}
}

// clear takes the frame away.
func (s *screen) clear(width int) error {
	if s == nil {
		return nil
	}
	var b strings.Builder
	s.up(&b, width)
	b.WriteString(eraseBelow)
	s.frame = nil
	_, err := s.out.WriteString(b.String())
	return err
}

// close gives the terminal back as it was; the last frame stays until clear. It may be called again.
func (s *screen) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	signal.Stop(s.size)
	signal.Stop(s.stop)
	signal.Stop(s.cont)
	s.restore()
}

// draw shows the last table that was read, or what the user wants to see of it.
func (t *tracer) draw() error {
	if t.last == nil {
		return nil
	}
	width, height := t.out.size()
	t.last.Sort, t.last.Reverse = t.o.sort, t.o.reverse
	shown, _ := t.shown(t.last)
	var b strings.Builder
	b.WriteString(t.header(t.last.Elapsed, width))
	if t.screen.keys != nil {
		b.WriteString(columns.CutMiddle(t.keyLine(), width) + "\n")
	}
	room := max(height-strings.Count(b.String(), "\n")-1, 1)
	err := error(nil)
	if t.o.hist {
		err = writeHistograms(&b, shown, width, room)
	} else {
		err = shown.WriteText(&b, width, room)
	}
	if err != nil {
		return err
	}
	return t.screen.draw(b.String(), width, height)
}

// keyLine says what keys do.
func (t *tracer) keyLine() string {
	line := "s sort: " + t.o.sort.String()
	if t.o.reverse {
		line += ", reversed"
	}
	line += "  r reverse  h histograms  p pause"
	if t.paused {
		line += "  (paused)"
	}
	return line + "  q quit"
}

// sortKeys is the order in which the key s goes through the columns.
var sortKeys = []probes.Column{
	probes.ColumnTotal, probes.ColumnCount, probes.ColumnRate, probes.ColumnAvg, probes.ColumnP99, probes.ColumnMax,
	probes.ColumnErrors, probes.ColumnMissed, probes.ColumnProbe,
}

// key does what a key says.
func (t *tracer) key(key byte) error {
	switch key {
	case 's':
		t.o.sort = sortKeys[(slices.Index(sortKeys, t.o.sort)+1)%len(sortKeys)]
	case 'r':
		t.o.reverse = !t.o.reverse
	case 'h':
		t.o.hist = !t.o.hist
	case 'p':
		t.paused = !t.paused
	default:
		return nil
	}
	return t.draw()
}
