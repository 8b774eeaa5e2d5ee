// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"encoding/json"
	"strings"
	"testing"
)

func testEvent() *Event {
	return &Event{
		Time: 5_001_204_511_900, Probe: "vfs_write%latency", Kind: KindLatency, PID: 812, TID: 815, CPU: 1, Comm: "ba\x1bsh", Context: 2,
		Latency: 1240, HasLatency: true, Ret: 4096, HasRet: true,
		Args: []Value{
			{Name: "fd", Type: types["x64"], Num: 3},
			{Name: "n", Type: types["s32"], Num: 0xfffffffe},
			{Name: "u", Type: types["u8"], Num: 0x1ff},
			{Name: "c", Type: types["char"], Num: 'a'},
			{Name: "f", Type: types["symbol"], Num: 0xffffffff81000044},
			{Name: "s", Type: types["string"], Str: "a\"b\n"},
			{Name: "bad", Type: types["u64"], Err: "memory can't be read"},
		},
	}
}

func TestEventText(t *testing.T) {
	f := &EventFormat{Symbols: readTestSymbols(t, testSymbols), Start: 5_000_000_000_000}
	want := `1.204511 [001] ba\x1bsh-812/815 vfs_write(fd=0x3, n=-2, u=255, c='a', f=vfs_write+0x4, s="a\"b\n", bad=<memory can't be read>) = 4096 <1.24µs>` + "\n"
	if got := string(f.AppendText(nil, testEvent())); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	for want, e := range map[string]*Event{
		"0.000001 [000] a-1 t:x()\n":                {Time: 1000, Probe: "t:x", Kind: KindEntry, PID: 1, TID: 1, Comm: "a"},
		"0.000000 [012] a-1 f = -2 ENOENT\n":        {Probe: "f%return", CPU: 12, Kind: KindReturn, PID: 1, TID: 1, Comm: "a", HasRet: true, Ret: 1<<64 - 2},
		"0.000000 [1234] a-1 f = -2 ENOENT\n":       {Probe: "f%return", CPU: 1234, Kind: KindReturn, PID: 1, TID: 1, Comm: "a", HasRet: true, Ret: 0xfffffffe},
		"0.000000 [000] a-1 f = 0xffff888000000000": {Probe: "f", Kind: KindReturn, PID: 1, TID: 1, Comm: "a", HasRet: true, Ret: 0xffff888000000000},
		"0.000000 [000] a-1 u:/a%b:f()":             {Probe: "u:/a%b:f", Kind: KindEntry, PID: 1, TID: 1, Comm: "a"},
	} {
		if got := string((&EventFormat{}).AppendText(nil, e)); !strings.HasPrefix(got, want) {
			t.Errorf("got  %swant %s", got, want)
		}
	}
	named := &EventFormat{Start: 1e9, Context: func(c uint32) string { return map[uint32]string{2: "pages"}[c] }}
	if got, want := string(named.AppendText(nil, &Event{Time: 5e8, Probe: "f", Context: 2, Comm: "a"})), "-0.500000 [000] a-0 {pages} f()\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestEventRegistersAndStack(t *testing.T) {
	f := &EventFormat{Symbols: readTestSymbols(t, testSymbols)}
	regs := make([]uint64, AMD64.Words())
	regs[AMD64.PCWord()], regs[AMD64.SPWord()] = 0xffffffff81000040, 0xffffc90000001000
	e := &Event{
		Probe: "vfs_write", Kind: KindEntry, Trapframe: NewTrapframe(AMD64, regs, []uint64{0xffffffffc0201005}),
		// The second is right behind the end of vfs_write, which called something that does not return.
		Stack: []uint64{0xffffffff81000040, 0xffffffff81000140, 0xffffffffc0201005, 0x1234},
	}
	got := string(f.AppendText(nil, e))
	for _, want := range []string{
		"    pc vfs_write, ra dup_name+0x5 [ext4]\n", "       ax 0000000000000000    dx 0000000000000000", "    sp ffffc90000001000",
		"    vfs_write\n    vfs_write+0x100\n    dup_name+0x5 [ext4]\n    0x1234\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	for _, line := range strings.Split(got, "\n") {
		if len(line) > 100 {
			t.Errorf("a line has %d characters: %s", len(line), line)
		}
	}
	if got := string((&EventFormat{}).AppendText(nil, e)); !strings.Contains(got, "    0xffffffff81000140\n") {
		t.Errorf("without symbols:\n%s", got)
	}
}

func TestEventJSON(t *testing.T) {
	f := &EventFormat{Symbols: readTestSymbols(t, testSymbols), Context: func(uint32) string { return "pages" }}
	e := testEvent()
	want := `{"type":"event","time_ns":5001204511900,"probe":"vfs_write%latency","kind":"latency","pid":812,"tid":815,"cpu":1,"comm":"ba\u001bsh","context":2,` +
		`"context_name":"pages","latency_ns":1240,"ret":4096,"args":{"fd":"0x3","n":-2,"u":255,"c":"a","f":"vfs_write+0x4","s":"a\"b\n",` +
		`"bad":{"error":"memory can't be read"}}}` + "\n"
	if got := string(f.AppendJSON(nil, e)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	e.Trapframe = NewTrapframe(RISCV64, []uint64{16}, nil)
	e.Stack = []uint64{0xffffffff81000040, 5}
	e.Args[5].Str = "\xff\x00é"
	e.Args[3].Num = 0xff
	var back struct {
		Args  map[string]any
		Regs  map[string]string
		Stack []string
	}
	if err := json.Unmarshal(f.AppendJSON(nil, e), &back); err != nil {
		t.Fatal(err)
	}
	if back.Regs["epc"] != "0x10" || len(back.Regs) != RISCV64.Words() || back.Stack[0] != "vfs_write" || back.Stack[1] != "0x5" || back.Args["s"] != "\ufffd\x00é" || back.Args["c"] != "ÿ" {
		t.Errorf("got %+v", back)
	}
}

func BenchmarkEventText(b *testing.B) {
	f := &EventFormat{}
	e := testEvent()
	e.Comm = "bash"
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = f.AppendText(buffer[:0], e)
	}
}

func BenchmarkEventJSON(b *testing.B) {
	f := &EventFormat{}
	e := testEvent()
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = f.AppendJSON(buffer[:0], e)
	}
}
