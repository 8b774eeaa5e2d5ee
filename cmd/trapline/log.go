// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// defaultVerbosity is CRIU's: errors and warnings.
const defaultVerbosity = 2

// timesVerbosity is the level from which lines carry the time.
const timesVerbosity = 3

// slogLevel gives the lowest level that is written at a verbosity, and whether anything is.
func slogLevel(verbosity int) (slog.Level, bool) {
	switch {
	case verbosity <= 0:
		return 0, false
	case verbosity == 1:
		return slog.LevelError, true
	case verbosity == 2:
		return slog.LevelWarn, true
	case verbosity == 3:
		return slog.LevelInfo, true
	}
	return slog.LevelDebug, true
}

// lineHandler writes a record as one line in the manner of CRIU's logs, which scripts grep:
//
//	(00.001234) Warn  message key=value
type lineHandler struct {
	mu     *sync.Mutex
	w      io.Writer
	level  slog.Level
	times  bool
	start  time.Time
	prefix string // of keys: the groups
	attrs  string // written after the message
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if h.times {
		d := max(r.Time.Sub(h.start), 0)
		fmt.Fprintf(&b, "(%02d.%06d) ", d/time.Second, d%time.Second/time.Microsecond)
	}
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("Error ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("Warn  ")
	}
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		appendAttr(&b, h.prefix, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		appendAttr(&b, h.prefix, a)
	}
	c := *h
	c.attrs += b.String()
	return &c
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.prefix += name + "."
	return &c
}

// appendAttr writes " key=value", with quotes where the value could be taken for more than one word or line.
func appendAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, g := range v.Group() {
			appendAttr(b, prefix, g)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	s := v.String()
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !strconv.IsPrint(r) }) {
		s = strconv.Quote(s)
	}
	fmt.Fprintf(b, " %s%s=%s", prefix, a.Key, s)
}

// logging is where the messages of one run go.
type logging struct {
	*slog.Logger
	file *os.File // nil if it is standard error
}

// openLog opens the log that the settings ask for.
func openLog(s *settings, stderr io.Writer) (*logging, error) {
	l := &logging{Logger: slog.New(slog.DiscardHandler)}
	w := stderr
	if s.logFile != "" && s.logFile != "-" {
		f, err := os.OpenFile(s.work(s.logFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		l.file, w = f, f
	}
	if level, any := slogLevel(s.verbosity); any {
		l.Logger = slog.New(&lineHandler{
			mu: new(sync.Mutex), w: w, level: level,
			times: s.verbosity >= timesVerbosity, start: time.Now(),
		})
	}
	return l, nil
}

// Close closes the log file.
func (l *logging) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
