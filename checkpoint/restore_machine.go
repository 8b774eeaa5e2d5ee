// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/cpu"
	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/image"
)

// checkMachine refuses early what could not run here: a CPU that lacks what the programs may have found at the dump.
func (r *restorer) checkMachine() error {
	need, err := cpuNeed(r.opts.CPUCap)
	if err != nil || need == 0 {
		return err
	}
	for _, t := range r.tasks {
		if t.extra == nil || t.extra.CPU == nil {
			continue
		}
		if err := cpu.Current().Meets(*t.extra.CPU, need); err != nil {
			return fmt.Errorf("%v: %w (--cpu-cap=none restores it all the same)", t, err)
		}
	}
	return nil
}

// cpuNeed is what --cpu-cap asks for, in CRIU's words. Without the option it is what the programs could use; CRIU then
// compares only the FPU.
func cpuNeed(caps []string) (cpu.Need, error) {
	if len(caps) == 0 {
		return cpu.NeedFPU | cpu.NeedInstructions, nil
	}
	const all = cpu.NeedFPU | cpu.NeedInstructions | cpu.NeedSame
	var need cpu.Need
	if strings.HasPrefix(caps[0], "^") {
		need = all
	}
	for _, c := range caps {
		name, without := strings.CutPrefix(c, "^")
		bits, ok := map[string]cpu.Need{"all": all, "cpu": cpu.NeedSame, "fpu": cpu.NeedFPU, "ins": cpu.NeedInstructions, "none": 0}[name]
		switch {
		case !ok:
			return 0, fmt.Errorf("--cpu-cap: %q is not one of cpu, fpu, ins, all, none", c)
		case name == "none" && !without:
			need = 0
		case without:
			need &^= bits
		default:
			need |= bits
		}
	}
	return need, nil
}

// eachOptional reads an image that may be missing.
func eachOptional[M any, P interface {
	*M
	proto.Message
}](r *image.Reader, name string, fn func(P)) error {
	err := r.Each(name, func() proto.Message { return P(new(M)) }, func(m proto.Message, _ io.Reader) error {
		fn(m.(P))
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// remotes makes the calls that only a process itself can make on its descriptors.
func (r *restorer) remotes(t *task, c *calls) error {
	if r.remoteCalls == nil {
		var procs []fds.Process
		for _, t := range r.tasks {
			if !t.dead && t.table != nil {
				procs = append(procs, fds.Process{Pid: t.pid, Table: t.table})
			}
		}
		var err error
		if r.remoteCalls, err = r.files.Remotes(procs); err != nil {
			return err
		}
	}
	for _, call := range r.remoteCalls[t.pid] {
		args := call.Args
		if len(call.Data) > 0 {
			args[call.DataArg] = c.Data(call.Data)
		}
		c.do(call.What, call.Nr, args[:]...)
		if err := c.more(); err != nil {
			return err
		}
	}
	return nil
}
