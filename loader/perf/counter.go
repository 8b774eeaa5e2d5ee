// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// count is what the kernel says of a counter: hits, and for how many ns it was to count and did.
type count struct {
	hits, enabled, running uint64
}

func (c *count) add(o count) {
	c.hits += o.hits
	c.enabled += o.enabled
	c.running += o.running
}

// open opens a counter of the probe for a task on a CPU; -1 stands for all.
func (p *Probe) open(task, cpu int, enabled bool) error {
	var bits uint64
	if !enabled {
		bits |= unix.PerfBitDisabled
	}
	if task >= 0 && !p.event.Placed() {
		bits |= unix.PerfBitInherit
	}
	fd, err := p.event.Open(task, cpu, bits, unix.PERF_FORMAT_TOTAL_TIME_ENABLED|unix.PERF_FORMAT_TOTAL_TIME_RUNNING, 0)
	if err != nil {
		return err
	}
	if p.filter != "" {
		if err := setFilter(fd, p.filter); err != nil {
			unix.Close(fd)
			return err
		}
	}
	p.counters = append(p.counters, fd)
	return nil
}

// try says whether a counter can be opened for tasks of this process.
func (p *Probe) try() error {
	before := p.counters
	if err := p.open(0, -1, false); err != nil {
		return err
	}
	fd := p.counters[len(before)]
	p.counters = before
	return unix.Close(fd)
}

// setFilter has the counter count only records for which the expression is true.
func setFilter(fd int, expression string) error {
	if err := unix.IoctlSetString(fd, unix.PERF_EVENT_IOC_SET_FILTER, expression); err != nil {
		return fmt.Errorf("filter %q: %w", expression, err)
	}
	return nil
}

// set enables or disables the probe's counters, with those that were inherited from them.
func (p *Probe) set(request uint) error {
	var errs []error
	for _, fd := range p.counters {
		errs = append(errs, unix.IoctlSetInt(fd, request, 0))
	}
	return errors.Join(errs...)
}

// read sums the probe's counters, with those of tasks that have ended.
func (p *Probe) read() (count, error) {
	sum := p.closed
	var errs []error
	for _, fd := range p.counters {
		c, err := readCounter(fd)
		if err != nil {
			errs = append(errs, fmt.Errorf("probe %s: read its count: %w", p.Name, err))
		}
		sum.add(c)
	}
	return sum, errors.Join(errs...)
}

func readCounter(fd int) (count, error) {
	var b [24]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return count{}, err
	}
	if n != len(b) {
		return count{}, fmt.Errorf("%d bytes, not %d", n, len(b))
	}
	return count{binary.NativeEndian.Uint64(b[:]), binary.NativeEndian.Uint64(b[8:]), binary.NativeEndian.Uint64(b[16:])}, nil
}

// close closes the counters from the n-th on. With keep, what they have counted stays.
func (p *Probe) close(n int, keep bool) error {
	var errs []error
	for _, fd := range p.counters[n:] {
		if keep {
			c, err := readCounter(fd)
			errs = append(errs, err)
			p.closed.add(c)
		}
		errs = append(errs, unix.Close(fd))
	}
	p.counters = p.counters[:n]
	return errors.Join(errs...)
}
