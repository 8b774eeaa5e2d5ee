// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/bpf"
)

// Map names of the C sources.
const (
	mapRows      = "rows"
	mapRecipes   = "recipes"
	mapTasks     = "tasks"
	mapSaved     = "saved_values"
	mapScratches = "scratches"
	mapEvents    = "events"
	mapSyscalls  = "syscalls"
	mapConstants = ".rodata"
	mapControl   = ".data.control"
	mapScratchOf = ".data.scratch"
)

// constants are the session's constants by their names in the C sources.
type constants map[string]any

// objects are the maps of a session, and what its programs are loaded from.
type objects struct {
	spec *ebpf.CollectionSpec
	maps map[string]*ebpf.Map
}

// sizes is how many entries the maps of a session have.
type sizes struct {
	rows, recipes, scratches, ringBytes uint32
}

// newObjects makes the maps. The kernel charges their memory to the caller.
func newObjects(consts constants, sz sizes) (_ *objects, err error) {
	spec, err := bpf.LoadTrace()
	if err != nil {
		return nil, fmt.Errorf("read the built-in eBPF programs: %w", err)
	}
	o := &objects{spec: spec, maps: map[string]*ebpf.Map{}}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	if err := setConstants(spec, consts); err != nil {
		return nil, err
	}
	for name, n := range map[string]uint32{mapRows: sz.rows, mapRecipes: sz.recipes, mapScratches: sz.scratches, mapEvents: sz.ringBytes} {
		spec.Maps[name].MaxEntries = max(n, spec.Maps[name].MaxEntries)
	}
	spec.Maps[mapControl].Flags |= unix.BPF_F_MMAPABLE
	for _, name := range []string{mapRows, mapRecipes, mapTasks, mapSaved, mapScratches, mapEvents, mapSyscalls, mapConstants, mapControl, mapScratchOf} {
		ms := spec.Maps[name]
		if name == mapConstants {
			ms = constantsMap(spec)
		}
		m, err := ebpf.NewMap(ms)
		if err != nil {
			return nil, fmt.Errorf("make the eBPF map %s: %w", name, err)
		}
		o.maps[name] = m
	}
	return o, nil
}

// constantsMap is the map that the programs' constants are in. Its content is that of the spec's variables: only a whole
// collection is loaded with them by the library, and ours are loaded one by one.
func constantsMap(spec *ebpf.CollectionSpec) *ebpf.MapSpec {
	ms := spec.Maps[mapConstants].Copy()
	data := make([]byte, ms.ValueSize)
	for _, v := range spec.Variables {
		if v.SectionName == mapConstants && int(v.Offset) < len(data) {
			copy(data[v.Offset:], v.Value)
		}
	}
	ms.Contents = []ebpf.MapKV{{Key: uint32(0), Value: data}}
	return ms
}

func setConstants(spec *ebpf.CollectionSpec, consts constants) error {
	for name, value := range consts {
		v := spec.Variables[name]
		if v == nil {
			return fmt.Errorf("the built-in eBPF programs have no constant %s", name)
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("constant %s: %w", name, err)
		}
	}
	return nil
}

// variant is what one loaded program has of its own.
type variant struct {
	attachType ebpf.AttachType
	attachTo   string    // function or tracepoint that the program is made for
	consts     constants // beyond the session's
}

// load loads one of the programs. The caller closes it.
func (o *objects) load(name string, v variant) (*ebpf.Program, error) {
	p := o.spec.Programs[name]
	if p == nil {
		return nil, fmt.Errorf("there is no eBPF program %s", name)
	}
	p = p.Copy()
	if v.attachType != ebpf.AttachNone {
		p.AttachType = v.attachType
	}
	if v.attachTo != "" {
		p.AttachTo = v.attachTo
	}
	constMap := o.maps[mapConstants]
	if len(v.consts) > 0 {
		own := o.spec.Copy()
		if err := setConstants(own, v.consts); err != nil {
			return nil, err
		}
		m, err := ebpf.NewMap(constantsMap(own))
		if err != nil {
			return nil, fmt.Errorf("make the constants of eBPF program %s: %w", name, err)
		}
		defer m.Close() // the program holds it
		constMap = m
	}
	for i := range p.Instructions {
		ins := &p.Instructions[i]
		if !ins.IsLoadFromMap() || ins.Reference() == "" {
			continue
		}
		m := o.maps[ins.Reference()]
		if ins.Reference() == mapConstants {
			m = constMap
		}
		if m == nil {
			return nil, fmt.Errorf("eBPF program %s uses a map %s, which is not there", name, ins.Reference())
		}
		if err := ins.AssociateMap(m); err != nil {
			return nil, fmt.Errorf("eBPF program %s, map %s: %w", name, ins.Reference(), err)
		}
	}
	prog, err := ebpf.NewProgram(p)
	if err != nil {
		return nil, fmt.Errorf("load eBPF program %s: %w", name, err)
	}
	return prog, nil
}

// Close gives the maps back.
func (o *objects) Close() error {
	var errs []error
	for _, m := range o.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
