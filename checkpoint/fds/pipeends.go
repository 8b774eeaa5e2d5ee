// SPDX-License-Identifier: Apache-2.0

package fds

import "golang.org/x/sys/unix"

// heldEnds tells which ends of pipes or FIFOs the tree holds, in the order in which they were met.
type heldEnds struct {
	of    map[inode]*heldEnd
	order []*heldEnd
}

type heldEnd struct {
	read, write bool
	lonely      bool // nobody at all holds the other end
	task        *Task
	where, link string // of the first descriptor
}

// add takes note of a descriptor.
func (h *heldEnds) add(o *object) {
	key := inode{o.st.Dev, o.st.Ino}
	e := h.of[key]
	if e == nil {
		if h.of == nil {
			h.of = map[inode]*heldEnd{}
		}
		// The engine's duplicate is of the same end: the kernel answers for all others.
		p := []unix.PollFd{{Fd: int32(o.local)}}
		_, err := unix.Poll(p, 0)
		e = &heldEnd{
			task: o.task, where: o.where, link: o.link,
			lonely: err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0,
		}
		h.of[key] = e
		h.order = append(h.order, e)
	}
	mode := o.flags() & unix.O_ACCMODE
	e.read = e.read || mode != unix.O_WRONLY
	e.write = e.write || mode != unix.O_RDONLY
}

// warn names those whose other end only a process outside of the tree holds.
func (h *heldEnds) warn(c *Collector, what string) {
	if c.opts.Log == nil {
		return
	}
	for _, e := range h.order {
		if e.read != e.write && !e.lonely {
			c.opts.Log.Warn(what, "pid", e.task.VPid, "comm", e.task.Comm, "at", e.where, "name", e.link)
		}
	}
}
