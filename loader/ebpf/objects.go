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
	spec  *ebpf.CollectionSpec
	maps  map[string]*ebpf.Map
	ready map[string]*ebpf.Program // loaded, and not asked for yet; by request.key
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
	o := &objects{spec: spec, maps: map[string]*ebpf.Map{}, ready: map[string]*ebpf.Program{}}
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

// A request is for one program.
type request struct {
	name string
	variant
}

// key tells requests apart.
func (r request) key() string { return fmt.Sprint(r) } // maps are printed in the order of their keys

// preload loads programs that will be asked for soon. The library reads the kernel's types, some 10 ms, for each program that is
// loaded by itself, and once for many that are loaded together. If one of them can't be loaded none is: then each load says
// for itself what is wrong.
func (o *objects) preload(requests []request) {
	if len(requests) < 2 {
		return
	}
	together := &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{}, Programs: map[string]*ebpf.ProgramSpec{}, Types: o.spec.Types, ByteOrder: o.spec.ByteOrder,
	}
	for _, r := range requests {
		p, constMap, err := o.specOf(r)
		if err != nil {
			return
		}
		if constMap != nil {
			defer constMap.Close() // the program holds it
		}
		together.Programs[r.key()] = p
	}
	loaded, err := ebpf.NewCollection(together)
	if err != nil {
		return
	}
	defer loaded.Close()
	for _, r := range requests {
		if p := loaded.DetachProgram(r.key()); p != nil {
			o.ready[r.key()] = p
		}
	}
}

// load loads one of the programs. The caller closes it.
func (o *objects) load(name string, v variant) (*ebpf.Program, error) {
	r := request{name, v}
	if p := o.ready[r.key()]; p != nil {
		delete(o.ready, r.key())
		return p, nil
	}
	p, constMap, err := o.specOf(r)
	if err != nil {
		return nil, err
	}
	if constMap != nil {
		defer constMap.Close()
	}
	prog, err := ebpf.NewProgram(p)
	if err != nil {
		return nil, fmt.Errorf("load eBPF program %s: %w", name, err)
	}
	return prog, nil
}

// specOf gives what is to be loaded, bound to the session's maps, and the map of the program's own constants if it has such,
// which the caller closes when the program is loaded.
func (o *objects) specOf(r request) (_ *ebpf.ProgramSpec, own *ebpf.Map, err error) {
	p := o.spec.Programs[r.name]
	if p == nil {
		return nil, nil, fmt.Errorf("there is no eBPF program %s", r.name)
	}
	p = p.Copy()
	if r.attachType != ebpf.AttachNone {
		p.AttachType = r.attachType
	}
	if r.attachTo != "" {
		p.AttachTo = r.attachTo
	}
	constMap := o.maps[mapConstants]
	if len(r.consts) > 0 {
		spec := o.spec.Copy()
		if err := setConstants(spec, r.consts); err != nil {
			return nil, nil, err
		}
		if own, err = ebpf.NewMap(constantsMap(spec)); err != nil {
			return nil, nil, fmt.Errorf("make the constants of eBPF program %s: %w", r.name, err)
		}
		constMap = own
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
			err = fmt.Errorf("eBPF program %s uses a map %s, which is not there", r.name, ins.Reference())
		} else if err = ins.AssociateMap(m); err != nil {
			err = fmt.Errorf("eBPF program %s, map %s: %w", r.name, ins.Reference(), err)
		}
		if err != nil {
			if own != nil {
				own.Close()
			}
			return nil, nil, err
		}
	}
	return p, own, nil
}

// dropReady closes what was preloaded and not asked for.
func (o *objects) dropReady() error {
	var errs []error
	for key, p := range o.ready {
		errs = append(errs, p.Close())
		delete(o.ready, key)
	}
	return errors.Join(errs...)
}

// Close gives the maps back.
func (o *objects) Close() error {
	errs := []error{o.dropReady()}
	for _, m := range o.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
