// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const testSymbols = `0000000000000000 A fixed_percpu_data
0000000000001000 A cpu_debug_store
ffffffff81000000 T _stext
ffffffff81000000 t local_alias
ffffffff81000040 T vfs_write
ffffffff81000140 T vfs_writev
ffffffff81000200 t dup_name
ffffffff81000300 t dup_name
ffffffff81000400 t clone.isra.0
ffffffff81000500 W weak_function
ffffffff810005f0 t __pfx___x64_sys_openat
ffffffff81000600 T __x64_sys_openat
ffffffff81800000 D jiffies
ffffffffc0201000 t dup_name	[ext4]
ffffffffc0200000 t ext4_sync_file	[ext4]
ffffffffc0100ff0 t xfs_last	[xfs]
ffffffffc0100000 t xfs_first	[xfs]
`

func readTestSymbols(t testing.TB, text string) *Symbols {
	t.Helper()
	s, err := ReadSymbols(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(list []Symbol) string {
	var s []string
	for _, f := range list {
		s = append(s, fmt.Sprintf("%s@%x", f, f.Address&0xffff))
	}
	return strings.Join(s, " ")
}

func TestSymbolsLookup(t *testing.T) {
	s := readTestSymbols(t, testSymbols)
	for _, c := range []struct{ module, name, want string }{
		{"", "vfs_write", "vfs_write@40"},
		{"", "dup_name", "dup_name@200 dup_name@300 ext4:dup_name@1000"},
		{"vmlinux", "dup_name", "dup_name@200 dup_name@300"},
		{"ext4", "dup_name", "ext4:dup_name@1000"},
		{"xfs", "dup_name", ""},
		{"", "nothing", ""},
		{"", "", ""},
	} {
		if got := names(s.LookupIn(c.module, c.name)); got != c.want {
			t.Errorf("LookupIn(%q, %q) = %q, want %q", c.module, c.name, got, c.want)
		}
	}
	for _, c := range []struct{ module, pattern, want string }{
		{"", "vfs_*", "vfs_write@40 vfs_writev@140"},
		{"", "*dup*", "dup_name@200 dup_name@300 ext4:dup_name@1000"},
		{"ext4", "*", "ext4:ext4_sync_file@0 ext4:dup_name@1000"},
		{"", "j*", ""},
		{"", "*openat", "__x64_sys_openat@600"},
		{"", "weak_function", "weak_function@500"},
	} {
		if got := names(s.Glob(c.pattern, c.module)); got != c.want {
			t.Errorf("Glob(%q, %q) = %q, want %q", c.pattern, c.module, got, c.want)
		}
	}
	if n := s.Len(); n != 17 || len(slices.Collect(s.All())) != n {
		t.Errorf("%d symbols, want 17", n)
	}
	if err := s.Restricted(); err != nil {
		t.Errorf("Restricted: %v", err)
	}
}

func TestSymbolsAt(t *testing.T) {
	s := readTestSymbols(t, testSymbols)
	for address, want := range map[uint64]string{
		0xffffffff81000040: "vfs_write+0/256",
		0xffffffff8100013f: "vfs_write+255/256",
		0xffffffff81000000: "_stext+0/64",
		0xffffffff81000620: "__x64_sys_openat+32/8387072",
		0xffffffff81800fff: "jiffies+4095/4096",
		0xffffffff81801000: "",
		0xffffffffc0100ffa: "xfs:xfs_last+10/16",
		0xffffffffc0101000: "",
		0xffffffffc0200010: "ext4:ext4_sync_file+16/4096",
		0xffffffffffffffff: "",
		0x00007fff12345678: "",
		0x0000000000001004: "",
		0:                  "",
	} {
		got := ""
		if f, offset, ok := s.At(address); ok {
			got = fmt.Sprintf("%s+%d/%d", f, offset, f.Size)
		}
		if got != want {
			t.Errorf("At(%#x) = %q, want %q", address, got, want)
		}
	}
}

func TestSymbolsFunctions(t *testing.T) {
	s := readTestSymbols(t, testSymbols)
	for _, c := range []struct{ module, name, want string }{
		{"", "vfs_wirte", "symbol vfs_wirte: not found; did you mean vfs_write or vfs_writev?"},
		{"", "clone", "symbol clone: not found; did you mean clone.isra.0?"},
		{"", "sys_openat", "symbol sys_openat: not found; did you mean syscall:openat or __x64_sys_openat?"},
		{"", "jiffies", "symbol jiffies: not found as a function: it is a variable"},
		{"ext4", "vfs_write", "symbol ext4:vfs_write: not found; did you mean vmlinux:vfs_write?"},
		{"", "completely_else", "symbol completely_else: not found"},
	} {
		_, err := s.Functions(c.module, c.name)
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrNoSymbol) {
			t.Errorf("Functions(%q, %q):\n got %v\nwant %s", c.module, c.name, err, c.want)
		}
	}
	if f, err := s.Functions("", "dup_name"); err != nil || len(f) != 3 {
		t.Errorf("Functions(dup_name) = %v, %v; want 3", f, err)
	}
}

func TestSymbolsRestricted(t *testing.T) {
	s := readTestSymbols(t, "0000000000000000 T vfs_write\n0000000000000000 t b\t[m]\n")
	if got := names(s.Lookup("vfs_write")) + " " + names(s.Glob("*", "")); got != "vfs_write@0 vfs_write@0 m:b@0" {
		t.Errorf("got %q", got)
	}
	if _, _, ok := s.At(0); ok {
		t.Error("At(0) found a symbol")
	}
	for value, want := range map[string]string{"0": "CAP_SYSLOG", "1": "CAP_SYSLOG", "2": "kptr_restrict is 2; write 1", "": "write 1 to /proc/sys/kernel/kptr_restrict"} {
		s.restrict = value
		if err := s.Restricted(); !errors.Is(err, ErrRestricted) || !strings.Contains(err.Error(), want) {
			t.Errorf("kptr_restrict %q: got %v, want %q", value, err, want)
		}
	}
}

func TestReadSymbolsHostile(t *testing.T) {
	for _, text := range []string{
		"\n", "x", "ffffffff81000000", "ffffffff81000000 T", "ffffffff81000000 T ", "ffffffff81000000T name", "fffffffff81000000 T name", "g T a",
		" T a", "0 T a\t", "0 T a\t[", "0 T a\t[]", "0 T \x1b[31m", "0   a", "0 T " + strings.Repeat("a", 2000), "0 T " + strings.Repeat("a", 100000),
	} {
		if _, err := ReadSymbols(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("ReadSymbols(%.30q): %v, want an error of line 1", text, err)
		}
	}
	if s := readTestSymbols(t, "0 T a"); s.Len() != 1 {
		t.Errorf("the last line without a newline is lost")
	}
	if s := readTestSymbols(t, ""); s.Len() != 0 || len(s.Lookup("a")) != 0 || len(s.Nearest("a", 3)) != 0 {
		t.Errorf("an empty list has symbols")
	}
	var many strings.Builder
	for i := range 70000 {
		fmt.Fprintf(&many, "1 t a\t[m%d]\n", i)
	}
	if _, err := ReadSymbols(strings.NewReader(many.String())); err == nil {
		t.Error("70,000 modules were taken")
	}
}

// TestLoadSymbols reads the symbols of the kernel that the test runs on.
func TestLoadSymbols(t *testing.T) {
	if _, err := os.Stat("/proc/kallsyms"); err != nil {
		t.Skip("this OS has no /proc/kallsyms")
	}
	s, err := LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Functions("vmlinux", "vfs_write")
	if err != nil || len(found) != 1 {
		t.Fatalf("vfs_write: %v, %v", found, err)
	}
	if err := s.Restricted(); err != nil {
		t.Skip(err)
	}
	f, offset, ok := s.At(found[0].Address + 3)
	if !ok || f.Name != "vfs_write" || offset != 3 || f.Size < 16 || f.Size > 1<<16 {
		t.Errorf("3 bytes behind vfs_write (%#x) are %v + %d (size %d), %v", found[0].Address, f, offset, f.Size, ok)
	}
	last := uint64(0)
	for f := range s.All() {
		if f.Address < last {
			t.Fatalf("%v is at %#x, the one before at %#x", f, f.Address, last)
		}
		last = f.Address
	}
}

func TestReadFunctions(t *testing.T) {
	available, err := readAvailable(strings.NewReader("vfs_write\next4_sync_file [ext4]\n__ftrace_invalid_address___12\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	blacklist, err := readBlacklist(strings.NewReader("0xffffffff81000000-0xffffffff81000010\tdo_int3\n0x0-0x0\tprobe_me [mod]\nnonsense\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		set  *FunctionSet
		s    Symbol
		want bool
	}{
		{available, Symbol{Name: "vfs_write"}, true},
		{available, Symbol{Name: "vfs_write", Module: "ext4"}, false},
		{available, Symbol{Name: "ext4_sync_file", Module: "ext4"}, true},
		{available, Symbol{Name: "__ftrace_invalid_address___12"}, false},
		{blacklist, Symbol{Name: "do_int3"}, true},
		{blacklist, Symbol{Name: "probe_me", Module: "mod"}, true},
		{blacklist, Symbol{Name: "nonsense"}, false},
		{nil, Symbol{Name: "vfs_write"}, false},
	} {
		if got := c.set.Has(c.s); got != c.want {
			t.Errorf("Has(%v) = %v, want %v", c.s, got, c.want)
		}
	}
	if available.Len() != 2 || blacklist.Len() != 2 {
		t.Errorf("%d and %d functions, want 2 and 2", available.Len(), blacklist.Len())
	}
}

func FuzzReadSymbols(f *testing.F) {
	f.Add([]byte(testSymbols))
	f.Add([]byte("0 T a\n0 T a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ReadSymbols(bytes.NewReader(text))
		if err != nil {
			return
		}
		for symbol := range s.All() {
			if !slices.Contains(s.Lookup(symbol.Name), symbol) {
				t.Fatalf("%+v is not found by its name", symbol)
			}
		}
		s.At(0xffffffff81000000)
		s.Nearest("vfs_wirte", 3)
	})
}

// manySymbols is a list as long as a distribution's kernel gives.
func manySymbols() []byte {
	var b bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintf(&b, "ffffffff%08x t some_kernel_function_%d_%x\n", 0x81000000+i*64, i, i*7919)
	}
	for i := range 20_000 {
		fmt.Fprintf(&b, "ffffffff%08x t module_function_%d\t[mod%d]\n", 0xc0000000+(i^5)*64, i, i/1000)
	}
	return b.Bytes()
}

func BenchmarkReadSymbols(b *testing.B) {
	text := manySymbols()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := ReadSymbols(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSymbolsIndex(b *testing.B) {
	s := readTestSymbols(b, string(manySymbols()))
	for b.Loop() {
		s.index()
	}
}

func BenchmarkSymbolsNearest(b *testing.B) {
	s := readTestSymbols(b, string(manySymbols()))
	for b.Loop() {
		s.Nearest("some_kernel_function_1999_x", 3)
	}
}

func BenchmarkLoadSymbols(b *testing.B) {
	for b.Loop() {
		if _, err := LoadSymbols(); err != nil {
			b.Fatal(err)
		}
	}
}
