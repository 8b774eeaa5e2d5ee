// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"fmt"
	"reflect"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/trapline/trapline/checkpoint/procfs"
	"golang.org/x/sys/unix"
)

// kind is a kind of open file. Its file registers it from init; the order of registration has no meaning: at most one
// kind matches an object.
type kind struct {
	typ fdinfo.FdTypes

	// match says whether an object is of this kind. It sees link, st and info only.
	match func(o *object) bool
	// dump makes the entry of an object, or refuses it. o.local is a duplicate that is closed afterwards unless the
	// kind calls o.hold. It must leave the open file as it is, and must not write images: Precheck runs it too.
	dump func(c *Collector, o *object) (*fdinfo.FileEntry, error)
	// scan reads what may hold further open files and has to be read before anything else. Not called by Precheck. May be nil.
	scan func(c *Collector) error
	// settle looks at what only shows when all tables have been collected, and refuses what can't be carried. May be nil.
	// Like dump it leaves targets and images alone.
	settle func(c *Collector) error
	// flush writes the kind's own images. May be nil. Called once, after the last object.
	flush func(c *Collector) error

	// check looks at an entry when images are loaded: are its fields there, does what it refers to exist. May be nil.
	check func(s *Set, e *fdinfo.FileEntry) error
	// open makes the open file and returns a descriptor of the engine, close-on-exec. Flags that fcntl can set,
	// owner and close-on-exec are set by the caller.
	open func(s *Set, e *fdinfo.FileEntry) (int, error)
	// remote adds the calls that processes of the tree must make for an entry. May be nil.
	remote func(s *Set, e *fdinfo.FileEntry, procs []Process, add func(pid int, r ...Remote)) error
	// common gives what most kinds' entries have: file status flags and owner. May be nil.
	common func(s *Set, e *fdinfo.FileEntry) (flags uint32, owner *fown.FownEntry)
}

var kinds []*kind

func register(k *kind) { kinds = append(kinds, k) }

// kindOfType finds the kind of an entry, nil if there is none.
func kindOfType(typ fdinfo.FdTypes) *kind {
	for _, k := range kinds {
		if k.typ == typ {
			return k
		}
	}
	return nil
}

// kindOf finds the kind of an object, nil if there is none.
func kindOf(o *object) *kind {
	for _, k := range kinds {
		if k.match != nil && k.match(o) {
			return k
		}
	}
	return nil
}

// object is an open file as it is met during a dump.
type object struct {
	id    uint32
	task  *Task
	fd    int    // number in the task's table; -1 for a file that is no descriptor (exe, cwd, a mapping)
	where string // for messages: "fd 7", "cwd", "the file of mapping 7f…"
	local int    // the engine's duplicate, -1 if there is none
	held  bool   // local is kept open until the Collector is closed
	st    unix.Stat_t
	link  string         // what /proc/PID/fd/N points to
	info  *procfs.FDInfo // never nil; made up for files that are no descriptors
}

// flags are the file's status flags without the descriptor's close-on-exec.
func (o *object) flags() uint32 { return uint32(o.info.Flags) &^ unix.O_CLOEXEC }

func (o *object) format() uint32 { return o.st.Mode & unix.S_IFMT }

// hold keeps the duplicate for the kind's flush.
func (o *object) hold() int {
	o.held = true
	return o.local
}

// refuse makes the error for an object that can't be carried: what it is ("an io_uring instance") and what to do.
func (o *object) refuse(what, hint string) error {
	return fmt.Errorf("%s: %s is %s, which %w; %s", o.task, o.where, what, ErrUnsupported, hint)
}

// fail wraps an error with the object's name.
func (o *object) fail(doing string, err error) error {
	return fmt.Errorf("%s: %s (%s): %s: %w", o.task, o.where, o.link, doing, err)
}

// states holds what kinds need across objects: one value of each type.
type states map[reflect.Type]any

// state returns the value of type T, made when first asked for.
func state[T any](m states) *T {
	t := reflect.TypeFor[T]()
	if v, ok := m[t]; ok {
		return v.(*T)
	}
	v := new(T)
	m[t] = v
	return v
}
