// SPDX-License-Identifier: Apache-2.0

// Package procfs reads what /proc says of a process, once and typed.
//
// A [Proc] holds a descriptor of the directory /proc/PID, and every file is opened relative to it. The
// directory belongs to one process for good: when that process is gone and its number has been given to
// another, reads fail with [ErrGone] and never tell of the newcomer.
//
//	p, err := procfs.Open(pid)
//	...
//	defer p.Close()
//	status, err := p.Status()
//	vmas, err := p.Smaps(nil)
//	for tid := range tids { t := p.Task(tid); stat, err := t.Stat() ... }
//
// A Proc may be used from several goroutines at a time; Close must be the last call. Files are read into
// buffers that are shared through a pool and parsed as bytes: besides the values that are returned nothing
// is left on the heap.
//
// The text comes from the kernel, but the target decides much of it: names of tasks, of files and of
// mappings. A parser takes any bytes, returns an error that wraps [ErrFormat] for what it can't make sense of,
// and keeps nothing larger than the text it was given. Lines and keys that a newer kernel has added are ignored.
//
// Sources: proc(5), and Documentation/filesystems/proc.rst, fs/proc/{array,base,fd,task_mmu}.c of Linux
// 6.1 to 6.18.
package procfs
