// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
)

// An eventsSample is what the event view took of the events that it was offered.
type eventsSample struct {
	Name                    string
	Offered, Shown, Dropped uint64
	Wall                    time.Duration // in which they were offered
}

// offers are how fast events come, and what each shows.
var offers = []struct {
	name string
	load string // of testprog.Hits
	args []string
}{
	{"200,000/s", "paced 1000000 200000", []string{"syscall:getppid%entry"}},
	{"200,000/s, JSON", "paced 1000000 200000", []string{"--json", "syscall:getppid%entry"}},
	{"500,000/s", "paced 2500000 500000", []string{"syscall:getppid%entry"}},
	{"as fast as can be", "getppid 10000000", []string{"syscall:getppid%entry"}},
	{"as fast as can be, with stacks", "getppid 3000000", []string{"--stack", "syscall:getppid%entry"}},
}

// eventsCase measures how many events a second the event view takes.
func eventsCase() probesCase {
	return probesCase{
		name: "probes-events",
		run: func(ctx context.Context, c config, out *json.Encoder) error {
			for _, offer := range offers {
				s, err := takeEvents(ctx, c.trapline, offer.load, offer.args)
				if err != nil {
					return fmt.Errorf("%s: %w", offer.name, err)
				}
				s.Name = offer.name
				if err := out.Encode(s); err != nil {
					return err
				}
			}
			return nil
		},
		report: func(text *strings.Builder, in *json.Decoder) error {
			text.WriteString("## The event view, this machine\n\n`trapline trace --events`, written to a file, beside a process that makes one system call an event.\n" +
				"The goal: 200,000 events a second are shown, and those that are not are counted: shown and dropped are all.\n\n")
			text.WriteString("| offered | a second | shown a second | dropped | shown and dropped |\n| --- | ---: | ---: | ---: | ---: |\n")
			err := each(in, func(s eventsSample) {
				rate := func(n uint64) float64 { return float64(n) / s.Wall.Seconds() }
				whole := "all"
				if s.Shown+s.Dropped != s.Offered {
					whole = fmt.Sprintf("%+d", int64(s.Shown+s.Dropped-s.Offered))
				}
				fmt.Fprintf(text, "| %s | %.0f | %.0f | %.2f %% | %s |\n", s.Name, rate(s.Offered), rate(s.Shown), 100*float64(s.Dropped)/float64(s.Offered), whole)
			})
			text.WriteByte('\n')
			return err
		},
	}
}

// takeEvents runs trapline trace --events beside a load.
func takeEvents(ctx context.Context, trapline, load string, args []string) (s eventsSample, err error) {
	dir, err := os.MkdirTemp("", "trapline-bench-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	// On a file system in memory, so that no disk is measured.
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return s, fmt.Errorf("mount %s: %w", dir, err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH) //nolint:errcheck // the mount namespace ends with this process
	output := filepath.Join(dir, "events")
	hits, err := testprog.Build("hits")
	if err != nil {
		return s, err
	}
	words := append([]string{"trace", "--events", "--no-calibrate", "-o", output}, args...)
	words = append(words, "--", hits, fmt.Sprint(loadCPU()))
	words = append(words, strings.Fields(load)...)
	cmd := exec.CommandContext(ctx, trapline, words...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return s, fmt.Errorf("%w\n%s", err, stderr.String())
	}
	if _, err := fmt.Sscan(stdout.String(), (*int64)(&s.Wall)); err != nil {
		return s, fmt.Errorf("the load said %q: %w", stdout.String(), err)
	}
	if _, err := fmt.Sscanf(load, "%s %d", new(string), &s.Offered); err != nil {
		return s, err
	}
	s.Shown, s.Dropped, err = countEvents(output)
	return s, err
}

// countEvents counts the events that stand in a file, as text or as JSON, and reads how many were dropped from what comes last.
func countEvents(file string) (shown, dropped uint64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case bytes.HasPrefix(line, []byte(`{"type":"event"`)), bytes.Contains(line, []byte("] hits-")):
			shown++
		case bytes.HasPrefix(line, []byte(`{"type":"stats"`)):
			var row struct{ Dropped uint64 }
			if err := json.Unmarshal(line, &row); err != nil {
				return 0, 0, fmt.Errorf("%s: %w", line, err)
			}
			dropped += row.Dropped
		case bytes.HasPrefix(line, []byte("dropped: ")):
			number, _, _ := strings.Cut(string(line[len("dropped: "):]), " ")
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				return 0, 0, fmt.Errorf("%s: %w", line, err)
			}
			dropped += n
		}
	}
	return shown, dropped, lines.Err()
}
