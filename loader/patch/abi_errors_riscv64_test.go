// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// addressOf gives the address of a symbol.
func addressOf(t *testing.T, name string) uint64 {
	t.Helper()
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	found := symbols.Lookup(name)
	if len(found) == 0 || found[0].Address == 0 {
		t.Fatalf("%s: no address", name)
	}
	return found[0].Address
}

// ambiguous is a name that several functions have.
func ambiguous(t *testing.T) string {
	t.Helper()
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for f := range symbols.All() {
		if f.Type != 't' {
			continue
		}
		for _, other := range symbols.Lookup(f.Name) {
			if other.Function() && other.Address != f.Address && strings.HasSuffix(f.Name, "_show") {
				return f.Name
			}
		}
	}
	t.Fatal("no name that several functions have")
	return ""
}

// Every bad input of probe_open gets the error that the header gives it.
func TestOpenErrors(t *testing.T) {
	write, data := addressOf(t, "vfs_write"), addressOf(t, "init_task")
	in := inside(t)
	several := ambiguous(t)
	closed, errno := validCall().open()
	if errno != 0 {
		t.Fatal(errno)
	}
	unix.Close(closed)
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	named := func(name string) func(*call) { return func(c *call) { c.symbol = append([]byte(name), 0) } }
	type table []struct {
		name   string
		spoil  func(*call)
		want   unix.Errno // 0: the kernel takes it
		reason abi.Reason
	}
	for group, cases := range map[string]table{
		"call": {
			{"as it is", func(*call) {}, 0, 0},
			{"flags", func(c *call) { c.flags = 1 }, unix.EINVAL, 0},
			{"size 0", func(c *call) { c.size = 0 }, unix.EINVAL, 0},
			{"size a byte short", func(c *call) { c.size = abi.AttrSizeVer0 - 1; c.attr.Size-- }, unix.EINVAL, 0},
			{"size longer, zeros", func(c *call) { c.size += 64; c.attr.Size += 64 }, 0, 0},
			{"size longer, not zeros", func(c *call) { c.size += 64; c.attr.Size += 64; c.behind[60] = 1 }, unix.E2BIG, 0},
			{"size huge", func(c *call) { c.size = 1 << 40 }, unix.E2BIG, 0},
			{"size is another in attr", func(c *call) { c.attr.Size = 128 }, unix.EINVAL, 0},
			{"attr at 0", func(c *call) { c.pointer = nowhere }, unix.EFAULT, 0},
			{"attr in the kernel", func(c *call) { c.pointer = uintptr(write) }, unix.EFAULT, 0},
		},
		"fields": {
			{"kind 0", func(c *call) { c.attr.Kind = 0 }, unix.EINVAL, 0},
			{"kind 4", func(c *call) { c.attr.Kind = 4 }, unix.EINVAL, 0},
			{"unknown flag", func(c *call) { c.attr.Flags = 1 << 7 }, unix.EINVAL, 0},
			{"last flag", func(c *call) { c.attr.Flags = 1 << 63 }, unix.EINVAL, 0},
			{"errors of an entry", func(c *call) { c.attr.Flags = abi.FlagErrors }, unix.EINVAL, 0},
			{"CPU time of an entry", func(c *call) { c.attr.Flags = abi.FlagCPUTime }, unix.EINVAL, 0},
			{"value of a latency", func(c *call) { c.attr.Kind = abi.KindLatency; c.fetch(); c.attr.Flags = abi.FlagValue }, unix.EINVAL, 0},
			{"value of nothing", func(c *call) { c.attr.Flags = abi.FlagValue }, unix.EINVAL, 0},
			{"value of a string", func(c *call) { ofString(c.fetch()); c.attr.Flags = abi.FlagValue }, unix.EINVAL, 0},
			{"contexts", func(c *call) { c.attr.Contexts = abi.ContextsMax + 1 }, unix.EINVAL, 0},
			{"most contexts", func(c *call) { c.attr.Contexts = abi.ContextsMax }, 0, 0},
			{"active", func(c *call) { c.attr.Kind = abi.KindLatency; c.attr.Active = abi.ActiveMax + 1 }, unix.EINVAL, 0},
			{"active of an entry", func(c *call) { c.attr.Active = 1 }, unix.EINVAL, 0},
			{"frames", func(c *call) { c.attr.Flags = abi.FlagEvents; c.attr.Frames = abi.FramesMax + 1 }, unix.EINVAL, 0},
			{"frames without events", func(c *call) { c.attr.Frames = 1 }, unix.EINVAL, 0},
			{"stack words", func(c *call) { c.attr.Flags = abi.FlagEvents; c.attr.StackWords = abi.StackWordsMax + 1 }, unix.EINVAL, 0},
			{"most stack words", func(c *call) { c.attr.Flags = abi.FlagEvents; c.attr.StackWords = abi.StackWordsMax }, 0, 0},
			{"stack words without events", func(c *call) { c.attr.StackWords = 1 }, unix.EINVAL, 0},
			{"registers without events", func(c *call) { c.attr.Flags = abi.FlagRegs }, unix.EINVAL, 0},
			{"wakeup", func(c *call) { c.attr.Wakeup = 1<<26 + 1 }, unix.EINVAL, 0},
			{"latest wakeup", func(c *call) { c.attr.Wakeup = 1 << 26 }, 0, 0},
			{"reserved", func(c *call) { c.attr.Reserved[1] = 1 }, unix.EINVAL, 0},
		},
		"place": {
			{"symbol at 8", func(c *call) { c.attr.Symbol = nowhere }, unix.EFAULT, 0},
			{"symbol in the kernel", func(c *call) { c.attr.Symbol = write }, unix.EFAULT, 0},
			{"symbol without end", func(c *call) { c.symbol = []byte(strings.Repeat("x", abi.SymbolMax+8)) }, unix.EINVAL, 0},
			{"empty symbol", named(""), unix.ENOENT, abi.ReasonNotText},
			{"unknown symbol", named("no_such_function_at_all"), unix.ENOENT, abi.ReasonNotText},
			{"glob", named("vfs_*"), unix.ENOENT, abi.ReasonNotText},
			{"variable", named("init_task"), unix.ENOENT, abi.ReasonNotText},
			{"several", named(several), unix.EADDRNOTAVAIL, 0},
			{"symbol with another's address", func(c *call) { c.attr.Address = write + 4 }, unix.ENOENT, abi.ReasonNotText},
			{"symbol with its address", func(c *call) { c.attr.Address = write }, 0, 0},
			{"no place", (*call).noSymbol, unix.ENOENT, abi.ReasonNotText},
			{"address alone", func(c *call) { c.noSymbol(); c.attr.Address = write }, 0, 0},
			{"user address", func(c *call) { c.noSymbol(); c.attr.Address = 0x10000 }, unix.ENOENT, abi.ReasonNotText},
			{"address of data", func(c *call) { c.noSymbol(); c.attr.Address = data }, unix.ENOENT, abi.ReasonNotText},
			{"last address", func(c *call) { c.noSymbol(); c.attr.Address = 1<<64 - 1 }, unix.ENOENT, abi.ReasonNotText},
			{"offset behind the function", func(c *call) { c.attr.Offset = 1 << 20 }, unix.ERANGE, 0},
			{"offset that wraps", func(c *call) { c.attr.Offset = 1<<64 - 2 }, unix.ERANGE, 0},
			{"offset inside an instruction", func(c *call) { c.attr.Offset = in }, unix.EILSEQ, abi.ReasonBoundary},
			{"odd offset", func(c *call) { c.attr.Offset = 1 }, unix.EILSEQ, abi.ReasonBoundary},
			{"odd address", func(c *call) { c.noSymbol(); c.attr.Address = write + 1 }, unix.EILSEQ, abi.ReasonBoundary},
			{"latency of an instruction", func(c *call) { c.attr.Kind = abi.KindLatency; c.attr.Offset = in - 2 + 4 }, unix.EINVAL, 0},
			{"return of an instruction", func(c *call) { c.attr.Kind = abi.KindReturn; c.attr.Offset = in - 2 + 4 }, unix.EINVAL, 0},
			{"entry text", named("handle_exception"), unix.EACCES, abi.ReasonEntryText},
			{"the engine", named("probe_hit"), unix.EACCES, abi.ReasonEngine},
			{"noinstr", named("ct_nmi_enter"), unix.EACCES, abi.ReasonNoinstr},
			{"init", named("start_kernel"), unix.EACCES, abi.ReasonInitText},
			{"patching", named("multi_cpu_stop"), unix.EACCES, abi.ReasonPatching},
		},
		"group": {
			{"-2", func(c *call) { c.attr.GroupFD = -2 }, unix.EBADF, 0},
			{"no descriptor", func(c *call) { c.attr.GroupFD = 1 << 20 }, unix.EBADF, 0},
			{"closed", func(c *call) { c.attr.GroupFD = int32(closed) }, unix.EBADF, 0},
			{"of something else", func(c *call) { c.attr.GroupFD = int32(null) }, unix.EBADF, 0},
		},
		"fetches": {
			{"one", func(c *call) { c.fetch() }, 0, 0},
			{"all", func(c *call) { c.attr.FetchCount = abi.FetchesMax }, 0, 0},
			{"too many", func(c *call) { c.attr.FetchCount = abi.FetchesMax + 1 }, unix.EINVAL, 0},
			{"very many", func(c *call) { c.attr.FetchCount = 1<<32 - 1 }, unix.EINVAL, 0},
			{"at 8", func(c *call) { c.fetch(); c.attr.Fetches = nowhere }, unix.EFAULT, 0},
			{"none, at 8", func(c *call) { c.attr.Fetches = nowhere }, unix.EINVAL, 0},
			{"value of what has one", func(c *call) { *c.fetch() = abi.Fetch{Base: uint8(recipe.BaseImmediate), Size: 8, Value: 1} }, 0, 0},
			{"value of what has none", func(c *call) { c.fetch().Value = 1 }, unix.EINVAL, 0},
			{"offset behind the reads", func(c *call) { c.fetch().Derefs = 1; c.fetch().Offset[1] = 8 }, unix.EINVAL, 0},
			{"string of a number", func(c *call) { c.fetch().String = 1 }, unix.EINVAL, 0},
			{"size of a string", func(c *call) { ofString(c.fetch()); c.fetch().Size = 8 }, unix.EINVAL, 0},
			{"base", func(c *call) { c.fetch().Base = uint8(recipe.BaseContext) + 1 }, unix.EINVAL, 0},
			{"register", func(c *call) { c.fetch().Index = abi.RegsMax }, unix.EINVAL, 0},
			{"register of what is none", func(c *call) { c.fetch().Base = uint8(recipe.BasePID) }, unix.EINVAL, 0},
			{"reads", func(c *call) { c.fetch().Derefs = abi.DerefsMax + 1 }, unix.EINVAL, 0},
			{"user of a read that is none", func(c *call) { c.fetch().Derefs = 1; c.fetch().User = 2 }, unix.EINVAL, 0},
			{"format", func(c *call) { c.fetch().Format = uint8(recipe.FormatUserString) + 1 }, unix.EINVAL, 0},
			{"size 0", func(c *call) { c.fetch().Size = 0 }, unix.EINVAL, 0},
			{"size 3", func(c *call) { c.fetch().Size = 3 }, unix.EINVAL, 0},
			{"string", func(c *call) { ofString(c.fetch()); c.fetch().String = abi.StringsMax }, unix.EINVAL, 0},
			{"pad", func(c *call) { c.fetch().Pad[7] = 1 }, unix.EINVAL, 0},
			{"at return 2", func(c *call) { c.attr.Kind = abi.KindLatency; c.fetch().AtReturn = 2 }, unix.EINVAL, 0},
			{"at the return of an entry", func(c *call) { c.fetch().AtReturn = 1 }, unix.EINVAL, 0},
			{"return value at the entry", func(c *call) {
				c.attr.Kind = abi.KindLatency
				*c.fetch() = abi.Fetch{Base: uint8(recipe.BaseRetval), Size: 8}
			}, unix.EINVAL, 0},
			{"name as a number", func(c *call) { *c.fetch() = abi.Fetch{Base: uint8(recipe.BaseComm), Size: 8} }, unix.EINVAL, 0},
		},
		"tests": {
			{"one", func(c *call) { c.test() }, 0, 0},
			{"too many", func(c *call) { c.test(); c.attr.TestCount = abi.TestsMax + 1 }, unix.EINVAL, 0},
			{"too many together", func(c *call) {
				c.attr.Kind = abi.KindLatency
				c.test()
				c.attr.ReturnTestCount = abi.TestsMax
			}, unix.EINVAL, 0},
			{"counts that wrap", func(c *call) {
				c.attr.Kind = abi.KindLatency
				c.test()
				c.attr.ReturnTestCount = 1<<32 - 1
			}, unix.EINVAL, 0},
			{"at the return of an entry", func(c *call) { c.fetch(); c.attr.ReturnTestCount = 1 }, unix.EINVAL, 0},
			{"at 8", func(c *call) { c.test(); c.attr.Tests = nowhere }, unix.EFAULT, 0},
			{"none, at 8", func(c *call) { c.attr.Tests = nowhere }, unix.EINVAL, 0},
			{"constants of none", func(c *call) { c.attr.Constants = nowhere }, unix.EINVAL, 0},
			{"value beside a fetch", func(c *call) { c.test().Right = 1; c.test().Value = 1 }, unix.EINVAL, 0},
			{"value of a string", func(c *call) {
				ofString(c.fetch())
				*c.test() = abi.Test{Op: uint8(recipe.OpString), Value: 1}
			}, unix.EINVAL, 0},
			{"signed string", func(c *call) {
				ofString(c.fetch())
				*c.test() = abi.Test{Op: uint8(recipe.OpString), IsSigned: 1}
			}, unix.EINVAL, 0},
			{"not", func(c *call) { c.test(); c.attr.TestCount = 2; c.tests[1].Op = uint8(recipe.OpNot) }, 0, 0},
			{"not with a side", func(c *call) {
				c.test()
				c.attr.TestCount = 2
				c.tests[1] = abi.Test{Op: uint8(recipe.OpNot), Right: 1}
			}, unix.EINVAL, 0},
			{"constants at 8", func(c *call) { c.test(); c.attr.Constants = nowhere }, unix.EFAULT, 0},
			{"step", func(c *call) { c.test().Op = uint8(recipe.OpNot) + 1 }, unix.EINVAL, 0},
			{"signed 2", func(c *call) { c.test().IsSigned = 2 }, unix.EINVAL, 0},
			{"left", func(c *call) { c.test().Left = 1 }, unix.EINVAL, 0},
			{"right", func(c *call) { c.test().Right = 2 }, unix.EINVAL, 0},
			{"pad", func(c *call) { c.test().Pad[0] = 1 }, unix.EINVAL, 0},
			{"constant", func(c *call) {
				ofString(c.fetch())
				*c.test() = abi.Test{Op: uint8(recipe.OpString), Right: abi.StringsMax}
			}, unix.EINVAL, 0},
			{"number as a string", func(c *call) { c.test().Op = uint8(recipe.OpGlob) }, unix.EINVAL, 0},
			{"string as a number", func(c *call) { ofString(c.fetch()); c.test() }, unix.EINVAL, 0},
			{"and of one", func(c *call) { c.test(); c.attr.TestCount = 2; c.tests[1].Op = uint8(recipe.OpAnd) }, unix.EINVAL, 0},
			{"not of none", func(c *call) { c.test().Op = uint8(recipe.OpNot) }, unix.EINVAL, 0},
			{"two results", func(c *call) { c.test(); c.attr.TestCount = 2 }, unix.EINVAL, 0},
			{"return value at the entry", func(c *call) {
				c.attr.Kind = abi.KindLatency
				*c.fetch() = abi.Fetch{Base: uint8(recipe.BaseRetval), Size: 8, AtReturn: 1}
				c.test()
			}, unix.EINVAL, 0},
		},
	} {
		for _, row := range cases {
			c := validCall()
			row.spoil(c)
			fd, errno := c.open()
			if errno == 0 {
				unix.Close(fd)
			}
			if errno != row.want || abi.Reason(c.attr.Reason) != row.reason {
				t.Errorf("%s, %s: error %d (%v), reason %d; want %d (%v), reason %d", group, row.name, errno, errno, c.attr.Reason, row.want, row.want, row.reason)
			}
		}
	}
}

// There are 64 filters; those of closed probes are free again.
func TestFilters(t *testing.T) {
	for range 2 {
		var fds []int
		for {
			c := validCall()
			c.attr.Flags = abi.FlagFilter
			fd, errno := c.open()
			if errno != 0 {
				if errno != unix.EUSERS {
					t.Errorf("filter %d: %v", len(fds), errno)
				}
				break
			}
			if fds = append(fds, fd); len(fds) > 100 {
				t.Fatal("more than 100 filters")
			}
		}
		if len(fds) != 64 {
			t.Errorf("%d filters, want 64", len(fds))
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

// capabilities drops all but some capabilities of this thread, which must end with the goroutine.
func capabilities(keep ...uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for _, c := range keep {
		data[c/32].Effective |= 1 << (c % 32)
		data[c/32].Permitted |= 1 << (c % 32)
	}
	return unix.Capset(&header, &data[0])
}

// Without a right there is EPERM, before anything is said about the rest; CAP_PERFMON is enough.
func TestRights(t *testing.T) {
	for _, c := range []struct {
		name string
		keep []uint
		want unix.Errno
	}{
		{"no capability", nil, unix.EPERM},
		{"others", []uint{unix.CAP_SYS_PTRACE, unix.CAP_SYSLOG, unix.CAP_BPF, unix.CAP_NET_ADMIN}, unix.EPERM},
		{"CAP_PERFMON", []uint{unix.CAP_PERFMON}, 0},
		{"CAP_SYS_ADMIN", []uint{unix.CAP_SYS_ADMIN}, 0},
	} {
		type answer struct {
			valid, spoilt unix.Errno
			err           error
		}
		answers := make(chan answer)
		go func() {
			runtime.LockOSThread() // and never unlocks it: the thread ends
			var a answer
			if a.err = capabilities(c.keep...); a.err == nil {
				var fd int
				if fd, a.valid = validCall().open(); a.valid == 0 {
					unix.Close(fd)
				}
				spoilt := validCall()
				spoilt.attr.Kind = 0
				_, a.spoilt = spoilt.open()
			}
			answers <- a
		}()
		a := <-answers
		spoilt := c.want
		if spoilt == 0 {
			spoilt = unix.EINVAL
		}
		if a.err != nil || a.valid != c.want || a.spoilt != spoilt {
			t.Errorf("%s: %v (%v), of a call that is wrong %v; want %v, %v", c.name, a.valid, a.err, a.spoilt, c.want, spoilt)
		}
	}
}

// No descriptor is left in the process.
func TestNoDescriptor(t *testing.T) {
	var old unix.Rlimit
	if err := prlimit(nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := prlimit(&unix.Rlimit{Cur: 0, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	_, errno := validCall().open()
	if err := prlimit(&old, nil); err != nil {
		t.Fatal(err)
	}
	if errno != unix.EMFILE {
		t.Errorf("%v, want EMFILE", errno)
	}
}

// An attr that can't be written to gets the error that it would get else; what it would read stays unsaid.
func TestReadOnlyAttr(t *testing.T) {
	b, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	attr := (*abi.Attr)(unsafe.Pointer(&b[0]))
	*attr = abi.Attr{Size: abi.AttrSizeVer0, Kind: abi.KindEntry, GroupFD: -1, Address: addressOf(t, "init_task")}
	if err := unix.Mprotect(b, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	c := validCall()
	c.pointer = uintptr(unsafe.Pointer(attr))
	if _, errno := c.open(); errno != unix.ENOENT || attr.Reason != 0 {
		t.Errorf("%v, reason %d; want ENOENT, none", errno, attr.Reason)
	}
}
