// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

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
		c.attr.Address, c.attr.Offset, c.attr.Flags = function.Address, offset, abi.FlagNoJump
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
		s, err := Open(t.Context(), spectest.Parse(t, glob+"%entry"), &Options{Filter: true})
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
