// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
)

// A tableSample is what the reader of a live table took while probes were hit.
type tableSample struct {
	Name string
	Rate float64 // hits/s
	CPU  float64 // share of one processor
}

// tables are what is read: where it is shown, and of what probes.
var tables = []struct {
	name     string
	terminal bool
	args     []string
}{
	{"a table a second, one probe", false, []string{"--interval", "1s", "syscall:getppid%entry"}},
	{"a live table on a terminal, one probe", true, []string{"syscall:getppid%entry"}},
	{"a live table on a terminal, latencies of all system calls", true, []string{"syscall:*"}},
}

const (
	tableGoal = 0.01 // of a processor
	tableTime = 10 * time.Second
	tableRate = 1_000_000 // hits/s that there should be at least
)

// tablesCase measures what reading costs while the programs count.
func tablesCase() probesCase {
	return probesCase{
		name: "probes-table",
		run: func(ctx context.Context, c config, out *json.Encoder) error {
			for _, table := range tables {
				s, err := readTable(ctx, c.trapline, table.terminal, table.args)
				if err != nil {
					return fmt.Errorf("%s: %w", table.name, err)
				}
				s.Name = table.name
				if err := out.Encode(s); err != nil {
					return err
				}
			}
			return nil
		},
		report: func(text *strings.Builder, in *json.Decoder) error {
			fmt.Fprintf(text, "## The reader of a table, this machine\n\nCPU time of `trapline trace` over %.0f s, from the first table on; two processes make system calls without a pause.\n\n",
				tableTime.Seconds())
			text.WriteString("| table | hits/s | share of a CPU | goal |\n| --- | ---: | ---: | ---: |\n")
			err := each(in, func(s tableSample) {
				fmt.Fprintf(text, "| %s | %.1f million | %.2f %% | %.0f %% |\n", s.Name, s.Rate/1e6, s.CPU*100, tableGoal*100)
			})
			text.WriteByte('\n')
			return err
		},
	}
}

// each hands out the values of a case.
func each[T any](in *json.Decoder, f func(T)) error {
	for {
		var v T
		if err := in.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		f(v)
	}
}

// readTable runs trapline trace beside a load on every processor.
func readTable(ctx context.Context, trapline string, terminal bool, args []string) (s tableSample, err error) {
	l, err := startLoad()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	words := append([]string{trapline, "trace"}, args...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	if terminal {
		// script gives its command a terminal, of whose size stty decides.
		cmd = exec.CommandContext(ctx, "script", "-qfec", "stty rows 50 cols 160; exec "+quoted(words), "/dev/null")
	}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // script ends when its input does
	if err != nil {
		return s, err
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := cmd.Start(); err != nil {
		return s, err
	}
	pid := cmd.Process.Pid
	defer func() {
		// Whatever comes next is not needed any more; only that it ends.
		err = errors.Join(err, unix.Kill(pid, unix.SIGINT), cmd.Wait())
	}()
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return s, fmt.Errorf("trapline trace showed no table: %w", err)
		}
		if strings.Contains(line, "COUNT") {
			break
		}
	}
	go lines.WriteTo(io.Discard) //nolint:errcheck // it ends with the pipe
	if terminal {
		if pid, err = onlyChild(pid); err != nil {
			return s, err
		}
	}
	began, calls := time.Now(), l.calls.Load()
	before, err := cpuTime(pid)
	if err != nil {
		return s, err
	}
	select {
	case <-time.After(tableTime):
	case <-ctx.Done():
		return s, ctx.Err()
	}
	after, err := cpuTime(pid)
	if err != nil {
		return s, err
	}
	wall := time.Since(began)
	s.CPU = float64(after-before) / float64(wall)
	s.Rate = float64(l.calls.Load()-calls) / wall.Seconds()
	if s.Rate < tableRate {
		return s, fmt.Errorf("only %.0f hits/s, expected %d", s.Rate, tableRate)
	}
	return s, nil
}

// quoted makes a command line for a shell.
func quoted(words []string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(all, " ")
}

// A load is one process a processor that makes system calls.
type load struct {
	calls atomic.Int64
	ended atomic.Bool
	group errgroup.Group
}

func startLoad() (*load, error) {
	l := &load{}
	const batch = 200_000
	for cpu := range loadCPU() + 1 {
		h, err := testprog.StartHits(cpu, nil)
		if err != nil {
			return nil, errors.Join(err, l.stop())
		}
		l.group.Go(func() error {
			for !l.ended.Load() {
				if _, err := h.Do("%s %d", cheapCall, batch); err != nil {
					return err
				}
				l.calls.Add(batch)
			}
			return h.Close()
		})
	}
	return l, nil
}

func (l *load) stop() error {
	l.ended.Store(true)
	return l.group.Wait()
}

// onlyChild gives the child of a process that has one.
func onlyChild(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// cpuTime is how long the threads of a process have been on a processor, in ns.
func cpuTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d has no CPU time: has it ended?", pid)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		var ns int64
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
