// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
)

// birthOp is one step of bringing a process tree into the world. Ids, parents and sessions can't be set: they come
// from who forks whom, when. The plan repeats the history that leads to them.
type birthOp int

const (
	birthFork      birthOp = iota // by forks pid
	birthSibling                  // by forks pid with CLONE_PARENT
	birthSetsid                   // by leads a session
	birthSetpgid                  // by joins the process group pid
	birthSubreaper                // by becomes a child subreaper
	birthUnreap                   // by is none any more
	birthEnd                      // by, which is only there for this, ends; pid, its parent, reaps it
)

// birth is one step: what task by does. A helper, a task that only exists during the restore, has a negative number
// if its id does not matter.
type birth struct {
	op  birthOp
	by  int
	pid int
}

// planned is what the plan needs of a task.
type planned struct {
	pid, ppid, pgid, sid int
	root                 bool
	// inherited says that session and group come from the engine (--shell-job).
	inheritSid, inheritPgid bool
}

type planner struct {
	tasks    map[int]*planned
	children map[int][]*planned
	steps    []birth
	session  map[int]int // of each task born so far
	group    map[int]int // its process group: inherited, or that of its own session
	parent   map[int]int
	later    []*planned
	helpers  int
}

// planBirths orders the births of a tree. tasks is in the order of pstree.img: the root first.
func planBirths(tasks []*planned) ([]birth, error) {
	p := &planner{tasks: map[int]*planned{}, children: map[int][]*planned{}, session: map[int]int{}, group: map[int]int{}, parent: map[int]int{}}
	for _, t := range tasks {
		if p.tasks[t.pid] != nil {
			return nil, fmt.Errorf("pid %d is twice in pstree.img: %w", t.pid, ErrImage)
		}
		p.tasks[t.pid] = t
		p.parent[t.pid] = t.ppid
		if !t.root {
			p.children[t.ppid] = append(p.children[t.ppid], t)
		}
	}
	root := tasks[0]
	for _, t := range tasks[1:] {
		seen := 0
		for q := t; !q.root; q = p.tasks[q.ppid] {
			if p.tasks[q.ppid] == nil {
				return nil, fmt.Errorf("pid %d: its parent %d is not in pstree.img: %w", t.pid, q.ppid, ErrImage)
			}
			if seen++; seen > len(tasks) {
				return nil, fmt.Errorf("pid %d is its own ancestor in pstree.img: %w", t.pid, ErrImage)
			}
		}
	}
	if err := p.grow(root, root.sid); err != nil {
		return nil, err
	}
	if err := p.orphans(); err != nil {
		return nil, err
	}
	if err := p.groups(tasks); err != nil {
		return nil, err
	}
	return p.steps, nil
}

func (p *planner) do(op birthOp, by, pid int) {
	p.steps = append(p.steps, birth{op, by, pid})
	switch op {
	case birthFork, birthSibling:
		p.group[pid] = p.group[by]
	case birthSetsid:
		p.group[by] = by
	}
}

// grow makes the children of t, which has just been born into session in.
func (p *planner) grow(t *planned, in int) error {
	p.session[t.pid] = in
	var after []*planned
	for _, c := range p.children[t.pid] {
		if t.sid == t.pid && in != t.sid && c.sid == in && c.sid != c.pid {
			// forked before its parent made a session of its own
			p.do(birthFork, t.pid, c.pid)
			if err := p.grow(c, in); err != nil {
				return err
			}
			continue
		}
		after = append(after, c)
	}
	if t.sid == t.pid {
		if !t.inheritSid {
			p.do(birthSetsid, t.pid, 0)
		}
		p.session[t.pid] = t.sid
	}
	for _, c := range after {
		if c.sid != c.pid && c.sid != p.session[t.pid] {
			p.later = append(p.later, c)
			continue
		}
		p.do(birthFork, t.pid, c.pid)
		if err := p.grow(c, p.session[t.pid]); err != nil {
			return err
		}
	}
	return nil
}

// orphans makes the tasks whose session is not one that their parent ever was in: they were adopted.
func (p *planner) orphans() error {
	for len(p.later) > 0 {
		c := p.later[0]
		p.later = p.later[1:]
		if from := p.memberBelow(c.sid, c.ppid); from != 0 {
			// a member of the session forks a helper, which forks the task and ends: the nearest subreaper adopts it
			p.helpers++
			h := -p.helpers
			p.do(birthSubreaper, c.ppid, 0)
			p.do(birthFork, from, h)
			p.do(birthFork, h, c.pid)
			p.do(birthEnd, h, from)
			p.do(birthUnreap, c.ppid, 0)
			if err := p.grow(c, c.sid); err != nil {
				return err
			}
			continue
		}
		if p.tasks[c.sid] != nil {
			if p.session[c.sid] == 0 && p.waits(c.sid) {
				p.later = append(p.later, c) // its leader is not born yet
				continue
			}
			return refuse("pid %d: its session %d is led by a task that is no descendant of its parent %d; dump a tree that has all of the session", c.pid, c.sid, c.ppid)
		}
		// the leader is dead: a helper with its id leads the session and makes the members
		p.do(birthFork, c.ppid, c.sid)
		p.do(birthSetsid, c.sid, 0)
		same := []*planned{c}
		rest := p.later[:0]
		for _, o := range p.later {
			if o.ppid == c.ppid && o.sid == c.sid {
				same = append(same, o)
			} else {
				rest = append(rest, o)
			}
		}
		p.later = rest
		for _, o := range same {
			p.do(birthSibling, c.sid, o.pid)
		}
		p.do(birthEnd, c.sid, c.ppid)
		for _, o := range same {
			if err := p.grow(o, o.sid); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *planner) waits(pid int) bool {
	for _, l := range p.later {
		for q := pid; q != 0; q = p.parent[q] {
			if q == l.pid {
				return true
			}
		}
	}
	return false
}

// memberBelow finds a born member of a session that descends from pid.
func (p *planner) memberBelow(sid, pid int) int {
	best := 0
	for m, s := range p.session {
		if s != sid {
			continue
		}
		for q := p.parent[m]; q != 0; q = p.parent[q] {
			if q == pid && (best == 0 || m < best) {
				best = m
			}
		}
	}
	return best
}

// groups puts the tasks into their process groups.
func (p *planner) groups(tasks []*planned) error {
	for _, t := range tasks {
		if t.pgid == t.pid && t.sid != t.pid && !t.inheritPgid {
			p.do(birthSetpgid, t.pid, t.pid)
		}
	}
	dead := map[int][]*planned{}
	var order []int
	for _, t := range tasks {
		// a dead leader's id is taken as long as its session lives: who was born into it has its group already
		if t.pgid == t.pid || t.inheritPgid || t.sid == t.pid || t.pgid == p.group[t.pid] {
			continue
		}
		l := p.tasks[t.pgid]
		if l == nil {
			if dead[t.pgid] == nil {
				order = append(order, t.pgid)
			}
			dead[t.pgid] = append(dead[t.pgid], t)
			continue
		}
		if p.session[l.pid] != p.session[t.pid] {
			return fmt.Errorf("pid %d: process group %d is in another session: %w", t.pid, t.pgid, ErrImage)
		}
		p.do(birthSetpgid, t.pid, t.pgid)
	}
	for _, g := range order {
		m := dead[g][0]
		p.do(birthFork, m.pid, g)
		p.do(birthSetpgid, g, g)
		for _, t := range dead[g] {
			if p.session[t.pid] != p.session[m.pid] {
				return fmt.Errorf("pid %d: process group %d spans two sessions: %w", t.pid, g, ErrImage)
			}
			p.do(birthSetpgid, t.pid, g)
		}
		p.do(birthEnd, g, m.pid)
	}
	return nil
}
