// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"sync"
)

// consoleKept is how much of the console is kept, bytes: enough for a panic with its traces.
const consoleKept = 256 << 10

// consoleTail is how many lines of the console an error quotes: a panic with its trace has some 60.
const consoleTail = 80

// console collects what the guest's kernel says. It is the io.Writer behind the serial port.
type console struct {
	log *slog.Logger

	mu   sync.Mutex
	kept []byte
	line []byte // not ended yet, for log
}

// escape matches what SeaBIOS sends to clear the screen.
var escape = regexp.MustCompile(`\x1b(\[[0-9;?]*[A-Za-z]|c)`)

// Write never fails.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, b...)
	if len(c.kept) > 2*consoleKept {
		c.kept = append([]byte(nil), c.kept[len(c.kept)-consoleKept:]...)
	}
	for rest := b; len(rest) > 0; {
		head, tail, ended := bytes.Cut(rest, []byte("\n"))
		c.line = append(c.line, head...)
		if ended {
			c.log.Debug("console", "line", clean(c.line))
			c.line = c.line[:0]
		}
		rest = tail
	}
	return len(b), nil
}

// text returns what is kept, clean, oldest first.
func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return clean(c.kept)
}

// tail returns the last lines.
func (c *console) tail() string {
	lines := strings.Split(strings.TrimRight(c.text(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-consoleTail):], "\n")
}

// crash returns the line that says why the kernel gave up, "" if it did not.
func (c *console) crash() string {
	for line := range strings.Lines(c.text()) {
		if strings.Contains(line, "Kernel panic - ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func clean(b []byte) string {
	b = escape.ReplaceAll(b, nil)
	return strings.TrimRight(strings.ReplaceAll(string(b), "\r", ""), "\x00")
}
