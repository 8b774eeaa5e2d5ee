// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

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
		err := s.attachUprobeGroup(k.path, k.kind, group)
		for _, p := range group {
			out[p] = err
		}
	}
}

func (s *Session) attachUprobeGroup(path string, kind probes.Kind, group []*Probe) error {
	exe, err := link.OpenExecutable(path)
	if err != nil {
		return err
	}
	opts := &link.UprobeMultiOptions{}
	for _, p := range group {
		opts.Addresses = append(opts.Addresses, p.FileOffset)
		opts.Cookies = append(opts.Cookies, uint64(p.index))
	}
	var links []link.Link
	for _, h := range halves(kind) {
		var l link.Link
		prog, err := s.objects.load(h.program, variant{attachType: ebpf.AttachTraceUprobeMulti, consts: preemptible})
		if err == nil {
			attach := exe.UprobeMulti
			if h.ret {
				attach = exe.UretprobeMulti
			}
			l, err = attach(nil, prog, opts)
			prog.Close() // the link holds it
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
