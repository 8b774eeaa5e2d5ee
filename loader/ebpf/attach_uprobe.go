// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/probes"
)

// preemptible are the constants of programs that the kernel lets run inside themselves: those of uprobes, which one task can
// hit while another on the same CPU was preempted in one.
var preemptible = constants{"preemptible": uint32(1)}

// attachUprobesMulti places the probes of one file through one link (two for latencies); Linux 6.6.
func (s *Session) attachUprobesMulti(list []*Probe, out map[*Probe]error) {
	type key struct {
		path string
		kind probes.Kind
	}
	groups := map[key][]*Probe{}
	for _, p := range list {
		k := key{p.Path, p.Kind}
		groups[k] = append(groups[k], p)
	}
	for k, group := range groups {
		if err := s.attachUprobeFile(k.path, k.kind, group, out); err != nil {
			for _, p := range group {
				out[p] = err
			}
		}
	}
}

// attachUprobeFile places probes of one kind in one file.
func (s *Session) attachUprobeFile(path string, kind probes.Kind, group []*Probe, out map[*Probe]error) error {
	exe, err := link.OpenExecutable(path)
	if err != nil {
		return err
	}
	var programs []*ebpf.Program
	for _, h := range halves(kind) {
		prog, err := s.objects.load(h.program, variant{attachType: ebpf.AttachTraceUprobeMulti, consts: preemptible})
		if err != nil {
			return err
		}
		s.stack.push(prog.Close)
		programs = append(programs, prog)
	}
	// As with kernel functions: one bad place fails all, so a group that fails is halved until the bad ones stand alone.
	var place func([]*Probe)
	place = func(group []*Probe) {
		err := s.linkUprobes(exe, kind, programs, group)
		if err == nil || len(group) == 1 || errors.Is(err, link.ErrNotSupported) || errors.Is(err, unix.EPERM) {
			for _, p := range group {
				out[p] = err
			}
			return
		}
		place(group[:len(group)/2])
		place(group[len(group)/2:])
	}
	place(group)
	return nil
}

// linkUprobes attaches a group or nothing of it.
func (s *Session) linkUprobes(exe *link.Executable, kind probes.Kind, programs []*ebpf.Program, group []*Probe) error {
	opts := &link.UprobeMultiOptions{}
	for _, p := range group {
		opts.Addresses = append(opts.Addresses, p.FileOffset)
		opts.Cookies = append(opts.Cookies, uint64(p.index))
	}
	var links []link.Link
	for i, h := range halves(kind) {
		attach := exe.UprobeMulti
		if h.ret {
			attach = exe.UretprobeMulti
		}
		l, err := attach(nil, programs[i], opts)
		if err != nil {
			for _, l := range links {
				l.Close()
			}
			return err
		}
		links = append(links, l)
	}
	for _, l := range links {
		s.stack.pushLink(l.Close)
	}
	return nil
}

// attachUprobe places one probe by perf events.
func (s *Session) attachUprobe(p *Probe) error {
	exe, err := link.OpenExecutable(p.Path)
	if err != nil {
		return err
	}
	var links []link.Link
	for _, h := range halves(p.Kind) {
		var l link.Link
		prog, err := s.objects.load(h.program, variant{consts: preemptible})
		if err == nil {
			attach := exe.Uprobe
			if h.ret {
				attach = exe.Uretprobe
			}
			l, err = attach(p.Function, prog, &link.UprobeOptions{Address: p.FileOffset, Cookie: uint64(p.index)})
			prog.Close()
		}
		if err != nil {
			for _, l := range links {
				l.Close()
			}
			return err
		}
		links = append(links, l)
	}
	for _, l := range links {
		s.stack.pushLink(l.Close)
	}
	return nil
}
