// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/probes"
)

func parse(t *testing.T, texts ...string) []*probes.Spec {
	t.Helper()
	var specs []*probes.Spec
	for _, text := range texts {
		s, err := probes.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, s)
	}
	return specs
}

// open opens a session of one command's tasks, closed with the test. Nothing may have gone wrong.
func open(t *testing.T, opts Options, texts ...string) *Session {
	t.Helper()
	opts.Filter = true
	s, err := Open(t.Context(), parse(t, texts...), &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if w := s.Warnings(); len(w) > 0 {
		t.Fatal(errors.Join(w...))
	}
	return s
}

// run launches a command and waits for its end.
func run(t *testing.T, s *Session, cmd *exec.Cmd) {
	t.Helper()
	s.Enable()
	if err := s.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
}

// trace has this program do some work and gives what was measured, by the probe's expression.
func trace(t *testing.T, s *Session, args ...string) map[string]Reading {
	t.Helper()
	run(t, s, command(args...))
	if w := s.Warnings(); len(w) > 0 {
		t.Fatal(errors.Join(w...))
	}
	return byText(s)
}

func byText(s *Session) map[string]Reading {
	m := map[string]Reading{}
	for _, r := range s.Read(nil) {
		m[r.Probe.Spec.Text] = r
	}
	return m
}

// leaves says whether an instruction may go elsewhere than to the next one, and come back or not: branches, jumps and calls.
func leaves(instruction uint32) bool {
	switch {
	case instruction&3 == 3:
		op := instruction & 0x7f
		return op == 0x63 || op == 0x6f || op == 0x67 // branch, jal, jalr
	case instruction&3 == 1:
		return instruction>>13&7 >= 5 // c.j, c.beqz, c.bnez
	}
	return instruction&3 == 2 && instruction>>13&7 == 4 && instruction&0x7c == 0 // c.jr, c.jalr
}

// firstSimulated is the first instruction of a function that goes elsewhere, if the kernel simulates it: each call of the
// function comes to it. ok is false if it does not.
func firstSimulated(t *testing.T, function probes.Symbol) (place string, ok bool) {
	t.Helper()
	for offset := uint64(0); offset < min(function.Size, 256); {
		c := validCall()
		c.noSymbol()
		c.attr.Address, c.attr.Offset, c.attr.Flags = function.Address, offset, flagNoJump
		fd, errno := c.open()
		if errno != 0 {
			return "", false
		}
		i, err := info(fd)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		if Method(i.Method) == MethodSimulate {
			return plus(function.Name, offset), offset > 0
		}
		if leaves(i.Instruction) {
			return "", false
		}
		offset += 2
		if i.Instruction&3 == 3 {
			offset += 2
		}
	}
	return "", false
}

// What the kernel simulates counts as the function does that it is in.
func TestSimulated(t *testing.T) {
	work := []string{"opens", "/dev/zero", "50"}
	var hit []probes.Symbol
	for _, glob := range []string{"*file*", "*open*", "*path*", "*name*", "do_*", "*alloc*", "*_read*"} {
		s, err := Open(t.Context(), parse(t, glob+"%entry"), &Options{Filter: true})
		if err != nil {
			t.Fatal(err)
		}
		run(t, s, command(work...))
		for _, r := range s.Read(nil) {
			if r.Stats.Count >= 50 && !r.Probe.Ambiguous {
				hit = append(hit, r.Probe.Symbol)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	for _, f := range hit {
		place, ok := firstSimulated(t, f)
		if !ok {
			continue
		}
		found++
		entry := f.Name + "%entry"
		s := open(t, Options{}, entry, place)
		got := trace(t, s, work...)
		if a, b := got[entry], got[place]; a.Stats.Count != b.Stats.Count || b.Stats.Count < 50 || b.Losses != (probes.Losses{}) || b.Probe.Method != MethodSimulate {
			t.Errorf("%s: %d hits by %v, %d calls; losses %+v", place, b.Stats.Count, b.Probe.Method, a.Stats.Count, b.Losses)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if found == 3 {
			break
		}
	}
	t.Logf("%d of %d functions begin with what is simulated", found, len(hit))
	if found == 0 {
		t.Error("nothing that is simulated")
	}
}

// Counts are exact, by each method, and for each kind.
func TestCounts(t *testing.T) {
	const n = 1000
	for _, c := range []struct {
		method Method
		places []string
	}{
		{MethodJump, []string{"vfs_write%entry", "vfs_write%return", "vfs_write%latency", "kprobe:vfs_write", "kretprobe:vfs_write"}},
		{MethodSlot, []string{"vfs_write%entry", "vfs_write%return", "vfs_write%latency"}},
	} {
		for _, place := range c.places {
			t.Run(c.method.String()+" "+place, func(t *testing.T) {
				text := place + " if %a2 == 7"
				if strings.Contains(place, "ret") { // parameters may be gone there
					text = place
				}
				s := open(t, Options{Only: c.method}, text)
				got := trace(t, s, "writes", strconv.Itoa(n))[text]
				if got.Stats.Count != n || got.Losses != (probes.Losses{}) {
					t.Errorf("%d hits, want %d; losses %+v", got.Stats.Count, n, got.Losses)
				}
				if got.Probe.Method != c.method {
					t.Errorf("method %v", got.Probe.Method)
				}
				if got.Probe.HasLatency() {
					checkLatency(t, &got.Stats)
				}
				t.Log(got.Probe.Detail())
			})
		}
	}
}

// checkLatency checks that the numbers of a latency fit together.
func checkLatency(t *testing.T, st *probes.Stats) {
	t.Helper()
	var all uint64
	for _, n := range st.Hist {
		all += n
	}
	if all != st.Count || st.Min == 0 || st.Min > st.Max || st.Total < st.Count*st.Min || st.Total > st.Count*st.Max {
		t.Errorf("%d in the histogram of %d; min %d, max %d, total %d", all, st.Count, st.Min, st.Max, st.Total)
	}
}

// A latency is wall time; time on CPU is what a call that sleeps takes least of.
func TestLatency(t *testing.T) {
	const n, sleep = 20, 5e6
	s := open(t, Options{CPUTime: true}, "hrtimer_nanosleep%latency", "syscall:nanosleep")
	for text, got := range trace(t, s, "sleeps", strconv.Itoa(n), strconv.Itoa(sleep/1000)) {
		if got.Stats.Count < n { // Go sleeps too
			t.Errorf("%s: %d calls, want %d", text, got.Stats.Count, n)
		}
		checkLatency(t, &got.Stats)
		if got.Stats.Total < n*sleep || got.Stats.Max < sleep || got.Stats.Max > 100*sleep {
			t.Errorf("%s: total %d, max %d ns of sleeps of %d", text, got.Stats.Total, got.Stats.Max, int(sleep))
		}
		if got.Stats.CPU == 0 || got.Stats.CPU > got.Stats.Total/2 {
			t.Errorf("%s: %d ns on CPU of %d", text, got.Stats.CPU, got.Stats.Total)
		}
	}
}

// Calls inside calls are paired, and counted as nested in those around them.
func TestNested(t *testing.T) {
	const n = 500
	s := open(t, Options{}, "ksys_write", "vfs_write", "vfs_write%entry", "vfs_write%return")
	got := trace(t, s, "writes", strconv.Itoa(n))
	for text, r := range got {
		if r.Stats.Count != n || r.Losses != (probes.Losses{}) {
			t.Errorf("%s: %d hits, want %d; losses %+v", text, r.Stats.Count, n, r.Losses)
		}
	}
	if outer, inner := got["ksys_write"].Stats, got["vfs_write"].Stats; outer.Nested != 3*n || outer.Total <= inner.Total {
		t.Errorf("ksys_write: %d hits inside, want %d; %d ns, of which vfs_write %d", outer.Nested, 3*n, outer.Total, inner.Total)
	}
}

// A function that calls itself is paired call by call: a file of an overlay is opened, and in it that of the layer below.
func TestRecursion(t *testing.T) {
	const n = 100
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{}, "do_dentry_open", "syscall:openat")
	got := trace(t, s, "opens", path, strconv.Itoa(n))
	calls, opens := got["do_dentry_open"], got["syscall:openat"]
	if opens.Stats.Count < n || calls.Stats.Count < opens.Stats.Count+n {
		t.Errorf("%d calls in %d opens; want one inside of another in %d at least", calls.Stats.Count, opens.Stats.Count, n)
	}
	if calls.Losses != (probes.Losses{}) {
		t.Errorf("losses %+v", calls.Losses)
	}
	checkLatency(t, &calls.Stats)
}

// What can be read and compared at a hit.
func TestPredicates(t *testing.T) {
	const n = 200
	null := []string{"writes", strconv.Itoa(n)}
	opens := []string{"opens", "/dev/zero", "3"}
	for _, c := range []struct {
		text string
		work []string
		want uint64
	}{
		{"vfs_write len=%a2:u64 if len == 7", null, n},
		{"vfs_write len=%a2:u64 if len == 7 && $retval == 7", null, n},
		{"vfs_write if %a2 == 7 && $retval < 0", null, 0},
		{"vfs_write len=%a2 if len < 8 && len > 6", null, n},
		{"vfs_write len=%a2 if len < 7 || len == 7", null, n},
		{"vfs_write len=%a2 if !(len == 7) && $comm == 'exe'", null, 0},
		{"vfs_write%entry if %a2 == 7 && $comm == 'exe'", null, n},
		{"vfs_write%entry if %a2 == 7 && $comm != \"exe\"", null, 0},
		{"vfs_write%entry if $comm ~ 'ex?' && %a2 & 4", null, n},
		{"vfs_write%entry if $comm ~ 'x*'", null, 0},
		{"vfs_write if %a2 == 7 && $latency > 100s", null, 0},
		{"vfs_write if %a2 == 7 && $latency < 100s", null, n},
		{"vfs_write%return if $retval == 7", null, n},
		{"vfs_write if %a2:s8 > -1 && %a2:u8 == 7 && $uid == 0 && $cpu < 4096 && $pid == $tid", null, n},
		{"vfs_write if %a2 == 7 && +0(%a0):u32 < 0xffffffff", null, n},
		{"syscall:write if %a2 == 7 && $retval == 7", null, n},
		{"syscall:write%entry fd=%a0:s32 if %a2 == 7 && fd > 2", null, n},
		{"syscall:openat path=%a1:ustring if path == '/dev/zero'", opens, 3},
		{"syscall:openat path=%a1:ustring if path ~ '/dev/*' && $retval >= 0", opens, 3},
		{"do_sys_openat2%entry path=%a1:ustring if path ~ '*/de*v/*e*o'", opens, 3},
		{"do_filp_open%entry path=+0(+0(%a1)):string if path == \"/dev/zero\"", opens, 3},
		{"do_filp_open%entry path=+0(+0(%a1)):string if path != \"/dev/zero\" && path ~ '/dev/z*'", opens, 0},
	} {
		s := open(t, Options{}, c.text)
		got := trace(t, s, c.work...)[c.text]
		if strings.Contains(c.text, "ustring") {
			got.Losses.Unread = 0 // a path that the process has not touched yet: not one of ours
		}
		if got.Stats.Count != c.want || got.Losses != (probes.Losses{}) {
			t.Errorf("%s: %d hits, want %d; losses %+v", c.text, got.Stats.Count, c.want, got.Losses)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Memory that is not there makes a comparison false, and is counted.
func TestUnread(t *testing.T) {
	text := "vfs_write%entry if %a2 == 7 && +0(\\16):u8 == 0"
	s := open(t, Options{}, text)
	got := trace(t, s, "writes", "10")[text]
	if got.Stats.Count != 0 || got.Losses.Unread < 10 {
		t.Errorf("%d hits, %+v; want none, and 10 unread", got.Stats.Count, got.Losses)
	}
}

// Returned errors of system calls are counted.
func TestErrors(t *testing.T) {
	s := open(t, Options{}, "syscall:close")
	got := trace(t, s, "badcloses", "25")["syscall:close"]
	if got.Stats.Errors != 25 || got.Stats.Count < 25 {
		t.Errorf("%d errors in %d calls, want 25", got.Stats.Errors, got.Stats.Count)
	}
}

// A context stands with what is measured while it is set; the last one takes all above.
func TestContexts(t *testing.T) {
	const text = "vfs_write if %a2 == 7"
	s := open(t, Options{Contexts: 4}, text)
	s.Enable()
	if err := s.Follow(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	for c := range 6 {
		s.SetContext(uint32(c))
		if err := writes(c + 1); err != nil {
			t.Fatal(err)
		}
	}
	want := map[uint32]uint64{0: 1, 1: 2, 2: 3, 3: 4 + 5 + 6}
	for _, r := range s.Read(nil) {
		if r.Stats.Count != want[r.Context] || r.Losses != (probes.Losses{}) {
			t.Errorf("context %d: %d hits, want %d; losses %+v", r.Context, r.Stats.Count, want[r.Context], r.Losses)
		}
		delete(want, r.Context)
	}
	if len(want) > 0 {
		t.Errorf("no rows of contexts: %v", want)
	}
}

// What was measured stays readable behind Detach, and does not grow.
func TestDetach(t *testing.T) {
	s := open(t, Options{}, "vfs_write if %a2 == 7")
	s.Enable()
	if err := s.Follow(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	for _, f := range []func() error{func() error { return writes(10) }, s.Detach, func() error { return writes(10) }} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Read(nil)[0]; got.Stats.Count != 10 {
		t.Errorf("%d hits, want 10", got.Stats.Count)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := s.Read(nil); len(got) > 0 {
		t.Errorf("%d rows of a closed session", len(got))
	}
	s.SetContext(1)
	s.Enable()
}

// A call that is under way is active; one that its task ends in has ended.
func TestActiveAndEnded(t *testing.T) {
	s := open(t, Options{}, "pipe_read", "syscall:exit_group")
	s.Enable()
	server := startServer(t, false, "serve")
	if err := s.Follow(server.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	server.round() // it reads again, or soon will
	for byText(s)["pipe_read"].Losses.Active == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the process does not read")
		}
	}
	server.in.Close() // the read returns nothing, and the process exits
	if err := server.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	got := byText(s)
	if l := got["pipe_read"].Losses; l != (probes.Losses{}) {
		t.Errorf("pipe_read, when all has returned: losses %+v", l)
	}
	if l := got["syscall:exit_group"].Losses; l != (probes.Losses{Ended: 1}) {
		t.Errorf("exit_group: losses %+v, want one call that ended", l)
	}
}

// A glob places what can be, and counts everywhere at once.
func TestGlob(t *testing.T) {
	began := time.Now()
	s, err := Open(t.Context(), parse(t, "*_read*"), &Options{Filter: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	placed := len(s.Probes())
	t.Logf("%d probes, %d warnings, in %v", placed, len(s.Warnings()), time.Since(began))
	if placed < 300 || len(s.Warnings()) > placed/4 {
		t.Errorf("%d probes and %d warnings, the first: %v", placed, len(s.Warnings()), s.Warnings()[:min(len(s.Warnings()), 3)])
	}
	run(t, s, command("opens", "/dev/zero", "10"))
	hit := 0
	for _, r := range s.Read(nil) {
		if r.Stats.Count > 0 {
			hit++
		}
	}
	if hit < 3 {
		t.Errorf("%d functions were hit", hit)
	}
	began = time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed in %v", time.Since(began))
}

// A name that several functions have is all of them.
func TestAmbiguous(t *testing.T) {
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for f := range symbols.All() {
		if !f.Function() || !strings.HasSuffix(f.Name, "_show") {
			continue
		}
		addresses := map[uint64]bool{}
		for _, other := range symbols.Lookup(f.Name) {
			addresses[other.Address] = true
		}
		if len(addresses) < 2 {
			continue
		}
		s, err := Open(t.Context(), parse(t, f.Name), nil)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		for _, p := range s.Probes() {
			if want := fmt.Sprintf("%s@%#x", f.Name, p.address()); p.Label() != want || !addresses[p.info.Address] {
				t.Errorf("%s is called %s, and lies at %#x", want, p.Label(), p.info.Address)
			}
			delete(addresses, p.info.Address)
		}
		if len(addresses) > 0 {
			t.Errorf("%s: not probed at %v: %v", f.Name, addresses, s.Warnings())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if tried++; tried == 3 {
			return
		}
	}
	if tried == 0 {
		t.Error("no name that several functions have")
	}
}

// A context that ends gives the opening up.
func TestOpenCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, parse(t, "vfs_*"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
