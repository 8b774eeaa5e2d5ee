// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"
)

// kernelTypes are the kernel's types, read once: that takes some 10 ms.
var kernelTypes = sync.OnceValues(btf.LoadKernelSpec)

// Prototype gives a kernel function's declaration as BTF has it, with each parameter under the name that a probe reads it
// by: "ssize_t vfs_write(%a0 struct file *file, …)"; "" if BTF does not know the function.
func Prototype(function string) string {
	types, err := kernelTypes()
	if err != nil {
		return ""
	}
	var f *btf.Func
	if err := types.TypeByName(function, &f); err != nil {
		return ""
	}
	proto, ok := f.Type.(*btf.FuncProto)
	if !ok {
		return ""
	}
	var params []string
	for i, p := range proto.Params {
		text := typeName(p.Type)
		if p.Name != "" {
			if !strings.HasSuffix(text, "*") {
				text += " "
			}
			text += p.Name
		}
		if i < 6 {
			text = "%a" + string(rune('0'+i)) + " " + text
		}
		params = append(params, text)
	}
	if len(params) == 0 {
		params = []string{"void"}
	}
	ret := typeName(proto.Return)
	if !strings.HasSuffix(ret, "*") {
		ret += " "
	}
	return ret + function + "(" + strings.Join(params, ", ") + ")"
}

// typeName writes a type as C does, as far as a prototype needs it.
func typeName(t btf.Type) string {
	switch t := t.(type) {
	case *btf.Pointer:
		if _, ok := btf.UnderlyingType(t.Target).(*btf.FuncProto); ok {
			return "function *"
		}
		name := typeName(t.Target)
		if !strings.HasSuffix(name, "*") {
			name += " "
		}
		return name + "*"
	case *btf.Const:
		return "const " + typeName(t.Type)
	case *btf.Volatile:
		return "volatile " + typeName(t.Type)
	case *btf.Restrict:
		return typeName(t.Type)
	case *btf.TypeTag:
		return typeName(t.Type)
	case *btf.Struct:
		return "struct " + t.Name
	case *btf.Union:
		return "union " + t.Name
	case *btf.Enum:
		return "enum " + t.Name
	case *btf.Fwd:
		return "struct " + t.Name
	case *btf.Array:
		return typeName(t.Type) + " *"
	case *btf.Void, nil:
		return "void"
	}
	return t.TypeName()
}
