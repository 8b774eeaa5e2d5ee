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

// since gives what was counted after o.
func (c count) since(o count) count {
	return count{c.hits - o.hits, c.enabled - o.enabled, c.running - o.running}
}

// open opens a counter of the probe for a task on a CPU; -1 stands for all. It counts at once: if it were enabled later, a
// task that is just being started could inherit it disabled, with all that this one starts in turn.
func (p *Probe) open(task, cpu int) error {
	var bits uint64
	if task >= 0 && !p.event.Placed() {
		bits |= unix.PerfBitInherit
	}
	fd, err := p.openCounter(task, cpu, bits)
	if err == nil {
		p.counters = append(p.counters, fd)
	}
	return err
}

// hold opens a counter that never counts. It shows that the probe can be placed, and keeps the kernel from giving up the
// tracepoint, for which it takes long, whenever no other counter is open.
func (p *Probe) hold() error {
	fd, err := p.openCounter(0, -1, unix.PerfBitDisabled)
	if err == nil {
		p.holder = fd
	}
	return err
}

func (p *Probe) openCounter(task, cpu int, bits uint64) (int, error) {
	fd, err := p.event.Open(task, cpu, bits, unix.PERF_FORMAT_TOTAL_TIME_ENABLED|unix.PERF_FORMAT_TOTAL_TIME_RUNNING, 0)
	if err != nil {
		return -1, err
	}
	if p.filter != "" {
		if err := setFilter(fd, p.filter); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// setFilter has the counter count only records for which the expression is true.
func setFilter(fd int, expression string) error {
	if err := unix.IoctlSetString(fd, unix.PERF_EVENT_IOC_SET_FILTER, expression); err != nil {
		return fmt.Errorf("filter %q: %w", expression, err)
	}
	return nil
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

// drop closes the counters from the n-th on, with what they have counted.
func (p *Probe) drop(n int) error {
	var errs []error
	for _, fd := range p.counters[n:] {
		errs = append(errs, unix.Close(fd))
	}
	p.counters = p.counters[:n]
	return errors.Join(errs...)
}

// close closes everything. With keep, what the counters have counted stays.
func (p *Probe) close(keep bool) error {
	var errs []error
	if keep {
		sum, err := p.read()
		errs = append(errs, err)
		p.closed = sum
	}
	errs = append(errs, p.drop(0))
	if p.holder >= 0 {
		errs = append(errs, unix.Close(p.holder))
		p.holder = -1
	}
	return errors.Join(errs...)
}
