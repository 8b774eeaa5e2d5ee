// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// Every mechanism that the kernel has counts the same calls, and reads the same arguments.
func TestFunctionMechanisms(t *testing.T) {
	needKernelFunctions(t)
	for _, m := range []Mechanism{MechanismFentry, MechanismKprobeSession, MechanismKprobeMulti, MechanismKprobe} {
		t.Run(string(m), func(t *testing.T) {
			name := strings.ReplaceAll(string(m), ".", "_")
			for _, f := range Features() {
				if f.Name == name {
					if err := f.Test(); err != nil {
						t.Skip(err)
					}
				}
			}
			cases := map[string]uint64{
				"vfs_write%latency len=%a2:u64 if len == 1":                   100,
				"vfs_write%latency len=%a2:u64 if len == 1 && $retval == 1":   100,
				"vfs_write%latency len=%a2:u64 if len == 1 && $retval != 1":   0,
				"vfs_write%latency if %a2 == 1 && $latency > 100s":            0,
				"vfs_write%entry if %a2 == 1 && $comm == 'dd'":                100,
				"vfs_open%entry name=+0(+0x28(+8(%a0))):string if name ~ '*'": 0, // whatever it reads must do no harm
			}
			if m == MechanismKprobeSession {
				delete(cases, "vfs_write%entry if %a2 == 1 && $comm == 'dd'") // has latencies only
				delete(cases, "vfs_open%entry name=+0(+0x28(+8(%a0))):string if name ~ '*'")
			} else {
				cases["vfs_write%return if $retval == 1"] = 100
			}
			var texts []string
			for text := range cases {
				texts = append(texts, text)
			}
			s := open(t, Options{Only: m}, texts...)
			for text, got := range trace(t, s, bytesOneByOne("100")...) {
				if got.Probe.Mechanism != m {
					t.Errorf("%s: placed by %s", text, got.Probe.Mechanism)
				}
				if strings.HasPrefix(text, "vfs_open") {
					continue
				}
				if got.Stats.Count != cases[text] || got.Losses != (probes.Losses{}) {
					t.Errorf("%s: %d hits, %+v; want %d and no losses", text, got.Stats.Count, got.Losses, cases[text])
				}
				if got.Probe.HasLatency() && cases[text] > 0 && (got.Stats.Min == 0 || got.Stats.Max < got.Stats.Min || got.Stats.Total < 100*got.Stats.Min) {
					t.Errorf("%s: latencies %+v", text, got.Stats)
				}
			}
		})
	}
}

func TestFunctionEvents(t *testing.T) {
	needKernelFunctions(t)
	s := open(t, Options{Events: &EventOptions{Registers: true, Stack: true}}, "vfs_write len=%a2:u64 di=%di if len == 1")
	list := events(t, s, bytesOneByOne("3")...)
	if len(list) != 3 {
		t.Fatalf("%d events, want 3", len(list))
	}
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Args[0].Num != 1 || e.Trapframe == nil || e.Trapframe.Arg(2) != 1 || e.Trapframe.Arg(0) != e.Args[1].Num {
			t.Errorf("arguments %+v, registers %v", e.Args, e.Trapframe)
			continue
		}
		if at, off, ok := symbols.At(e.Trapframe.PC()); !ok || at.Name != "vfs_write" || off > 16 {
			t.Errorf("PC is at %s+%#x", at.Name, off)
		}
		var names []string
		for _, pc := range e.Stack {
			at, _, _ := symbols.At(pc)
			names = append(names, at.Name)
		}
		if stack := strings.Join(names, " "); !strings.Contains(stack, "ksys_write") && !strings.Contains(stack, "sys_write") {
			t.Errorf("stack %s", stack)
		}
	}
}

// An offset is an instruction, or it is refused.
func TestInstructions(t *testing.T) {
	needKernelFunctions(t)
	var placed, refused int
	for offset := 1; offset < 24; offset++ {
		text := fmt.Sprintf("vfs_write+%#x", offset)
		s, err := Open(t.Context(), spectest.Parse(t, text), &Options{Filter: true})
		if errors.Is(err, unix.EILSEQ) {
			refused++
			if !strings.Contains(err.Error(), "not at the start of an instruction") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err != nil {
			continue // inside what ftrace patches
		}
		placed++
		if placed == 1 {
			if n := trace(t, s, bytesOneByOne("5")...)[text].Stats.Count; n < 5 {
				t.Errorf("%s: %d hits, want 5 and more", text, n)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if placed == 0 || refused == 0 {
		t.Errorf("%d instructions and %d offsets that are none; want some of both", placed, refused)
	}
}

// A name that several functions share leads to all of them, told apart by their addresses.
func TestAmbiguous(t *testing.T) {
	needKernelFunctions(t)
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	available, err := probes.AvailableFunctions()
	if err != nil {
		t.Fatal(err)
	}
	for symbol := range symbols.All() {
		same := symbols.Lookup(symbol.Name)
		if len(same) != 2 || !same[0].Function() || !same[1].Function() || same[0].Module != "" || same[1].Module != "" || !available.Has(same[0]) {
			continue
		}
		s, err := Open(t.Context(), spectest.Parse(t, symbol.Name), &Options{Filter: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		list := s.Probes()
		if len(list)+len(s.Warnings()) == 2 && len(list) == 1 {
			continue // one of them is where the kernel takes no probes
		}
		if len(list) != 2 || list[0].Address() == list[1].Address() || list[0].Name == list[1].Name {
			t.Errorf("%s: %d places: %v", symbol.Name, len(list), list)
		}
		return
	}
	t.Fatal("every name is unique")
}

// A glob leaves out what can't be probed, and is prompt: 1,000 functions in under 2 s where the kernel takes many at once.
func TestGlob(t *testing.T) {
	needKernelFunctions(t)
	s := open(t, Options{}, "vfs_*")
	got := trace(t, s, bytesOneByOne("10")...)
	var names []string
	for _, p := range s.Probes() {
		names = append(names, p.Name)
	}
	if len(names) < 30 {
		t.Errorf("%d functions: %v", len(names), names)
	}
	var writes uint64
	for _, r := range s.Read(nil) {
		if r.Probe.Symbol.Name == "vfs_write" {
			writes = r.Stats.Count
		}
	}
	if writes < 10 {
		t.Errorf("%d hits of vfs_write (%d rows)", writes, len(got))
	}
}

func TestModuleFunctions(t *testing.T) {
	needKernelFunctions(t)
	modules, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(modules), "overlay ") {
		t.Skip("overlayfs is no module of this kernel")
	}
	s := open(t, Options{}, "overlay:ovl_open*", "kprobe:overlay:ovl_lookup")
	got := trace(t, s, "ls", "-l", "/usr/share")
	if n := got["kprobe:overlay:ovl_lookup"]; n.Stats.Count == 0 || n.Probe.Symbol.Module != "overlay" {
		t.Errorf("ovl_lookup: %+v", n)
	}
}

func TestFunctionRefused(t *testing.T) {
	for text, want := range map[string]string{
		"vfs_wirte":                 "did you mean vfs_write",
		"no_such_module:vfs_write":  "did you mean vmlinux:vfs_write",
		"vfs_write+0x400000":        "lies behind the end of vfs_write",
		"0xffff800000000010":        "in no function of the kernel",
		"zzz_no_such*":              "no function that can be probed matches",
		"tracepoint:sched:sched_sw": "not found",
		"tracepoint:x:sched_switch": "did you mean tracepoint:sched:sched_switch?",
		"rawtp:no_such":             "not found",
		"syscall:opennat":           "not found",
		"tracepoint:sched:sched_switch if $no_field == 1": "there is no field no_field; there are $prev_comm",
		"syscall:openat x=$no_such":                       "has no parameter no_such; it has $dfd",
		"vfs_write%latency x=%nosuch":                     "has no register nosuch",
	} {
		s, err := Open(t.Context(), spectest.Parse(t, text), nil)
		if err == nil {
			s.Close()
			t.Errorf("%s: was placed", text)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", text, err, want)
		}
	}
}

// Where the kernel hides addresses, what goes by name still works, and the rest says why not. This changes a setting of the whole
// machine, so it is for guests.
func TestHiddenAddresses(t *testing.T) {
	if _, guest := os.LookupEnv("TRAPLINE_GUEST"); !guest {
		t.Skip("runs in a guest: it hides the addresses of the machine's kernel for a moment")
	}
	const setting = "/proc/sys/kernel/kptr_restrict"
	old, err := os.ReadFile(setting)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(setting, []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(setting, old, 0)
	list := []string{"vfs_write", "kprobe:vfs_read"}
	s := open(t, Options{}, list...)
	got := trace(t, s, bytesOneByOne("10")...)
	for _, text := range list {
		if n := got[text].Stats.Count; n < 10 {
			t.Errorf("%s by %s: %d hits, want 10 and more", text, got[text].Probe.Mechanism, n)
		}
	}
	glob := open(t, Options{}, "vfs_w*")
	if n := trace(t, glob, bytesOneByOne("10")...)["vfs_w*"]; len(glob.Probes()) < 2 {
		t.Errorf("vfs_w*: %d probes, %+v", len(glob.Probes()), n.Stats.Count)
	}
	if _, err := Open(t.Context(), spectest.Parse(t, "vfs_write x=@jiffies"), nil); err == nil || !strings.Contains(err.Error(), "kptr_restrict") {
		t.Errorf("a value at a hidden address: %v; want kptr_restrict in it", err)
	}
}
