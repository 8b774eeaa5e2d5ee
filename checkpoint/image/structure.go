// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"google.golang.org/protobuf/proto"
)

// Task states in core-PID.img, as in CRIU's compel/include/uapi/task-state.h.
const (
	TaskAlive   = 1
	TaskDead    = 2 // exited; its parent has not waited for it yet
	TaskStopped = 3
	TaskZombie  = 6
)

// structure checks what can be checked without checksums: every image decodes, pagemaps and pages
// files fit, and the images that a task must have are there.
func (v *verifier) structure(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		v.decode(name)
	}
	v.pages(names)
	if v.r.Has("pstree.img") {
		v.tasks()
	} else if v.rep.Complete && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "core-") }) {
		v.problem("pstree.img", -1, 0, "missing")
	}
	return nil
}

// decode reads one file to its end.
func (v *verifier) decode(name string) {
	k, _, ok := KindOf(name)
	if !ok {
		if strings.HasPrefix(name, ownPrefix) && strings.HasSuffix(name, ".json") {
			var x json.RawMessage
			if err := v.r.Extra(name, &x); err != nil {
				v.wrong(name, err)
			}
		}
		return
	}
	var err error
	switch {
	case k.New == nil:
		return
	case k.Magic == "PAGEMAP":
		_, err = v.r.pagemap(name)
	case k.Magic == "INVENTORY":
		_, err = v.r.loadInventory()
	default:
		err = v.r.each(name, nil, func(proto.Message, io.Reader) error { return nil })
	}
	if err != nil {
		v.wrong(name, err)
	}
}

// pages checks the lengths of the pages files against the pagemaps that use them.
func (v *verifier) pages(names []string) {
	need := map[string]int64{}
	for _, name := range names {
		if k, _, ok := KindOf(name); !ok || k.Magic != "PAGEMAP" {
			continue
		}
		p, err := v.r.pagemap(name)
		if err != nil {
			continue // reported by decode
		}
		pages := PagesName(p.PagesID)
		need[pages] = max(need[pages], p.Bytes)
	}
	for _, name := range names {
		if k, _, ok := KindOf(name); !ok || k.Name != "pages" {
			continue
		}
		want, ok := need[name]
		size, err := v.r.Size(name)
		switch {
		case err != nil:
			v.wrong(name, err)
		case !ok:
			v.problem(name, -1, 0, "no pagemap refers to it")
		case size > want:
			v.problem(name, want, size-want, "too long: %d bytes, its pagemap has %d", size, want)
		}
	}
}

// tasks checks that every task has the images that it needs.
func (v *verifier) tasks() {
	files := map[uint32]bool{}
	if v.r.Has("files.img") {
		var f fdinfo.FileEntry
		_ = v.r.each("files.img", func(int) proto.Message { return &f }, func(proto.Message, io.Reader) error {
			files[f.GetId()] = true
			return nil
		}) // reported by decode
	}
	tables := map[uint32]bool{} // fdinfo images looked at
	pids := map[uint32]bool{0: true}
	n := 0
	err := v.r.each("pstree.img", nil, func(m proto.Message, _ io.Reader) error {
		p := m.(*pstree.PstreeEntry)
		n++
		if !pids[p.GetPpid()] {
			v.problem("pstree.img", -1, 0, "process %d has the parent %d, which is not before it", p.GetPid(), p.GetPpid())
		}
		if pids[p.GetPid()] {
			v.problem("pstree.img", -1, 0, "process %d is there twice", p.GetPid())
		}
		pids[p.GetPid()] = true
		v.task(p, files, tables)
		return nil
	})
	if err == nil && n == 0 {
		v.problem("pstree.img", -1, 0, "no process")
	}
}

func (v *verifier) task(p *pstree.PstreeEntry, files, tables map[uint32]bool) {
	pid := p.GetPid()
	missing := func(name string) {
		v.problem(name, -1, 0, "missing: process %d needs it", pid)
	}
	var core criu_core.CoreEntry
	name := fmt.Sprintf("core-%d.img", pid)
	if !v.r.Has(name) {
		missing(name)
		return
	}
	if v.r.one(name, &core) != nil {
		return // reported by decode
	}
	if s := core.GetTc().GetTaskState(); s != TaskAlive && s != TaskStopped {
		return
	}
	for _, tid := range p.GetThreads() {
		if name := fmt.Sprintf("core-%d.img", tid); !v.r.Has(name) {
			missing(name)
		}
	}
	// A task that shares its memory or files with another has no image of its own for them; which it
	// is, its ids tell.
	for _, kind := range []string{"fs", "ids"} {
		if name := fmt.Sprintf("%s-%d.img", kind, pid); !v.r.Has(name) {
			missing(name)
		}
	}
	var ids criu_core.TaskKobjIdsEntry
	if v.r.one(fmt.Sprintf("ids-%d.img", pid), &ids) != nil {
		return
	}
	table := ids.GetFilesId()
	if tables[table] {
		return
	}
	tables[table] = true
	name = fmt.Sprintf("fdinfo-%d.img", table)
	if !v.r.Has(name) {
		missing(name)
		return
	}
	var fd fdinfo.FdinfoEntry
	_ = v.r.each(name, func(int) proto.Message { return &fd }, func(proto.Message, io.Reader) error {
		// Before CRIU 3.3 each kind had its own image.
		if len(files) > 0 && !files[fd.GetId()] {
			v.problem(name, -1, 0, "descriptor %d of process %d is file %#x, which files.img does not have", fd.GetFd(), pid, fd.GetId())
		}
		return nil
	}) // reported by decode
}
