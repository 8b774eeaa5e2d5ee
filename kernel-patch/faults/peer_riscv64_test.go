// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// peerFile places a native kprobe (internal/bench/riscv/peer): "entry SYMBOL+OFFSET", "latency SYMBOL", "off". Read, it gives how often
// that was hit, and three more numbers.
const peerFile = "/proc/trapline_peer"

func peer(line string) error { return os.WriteFile(peerFile, []byte(line), 0) }

func peerCount(t *testing.T) uint64 {
	t.Helper()
	content, err := os.ReadFile(peerFile)
	if err != nil {
		t.Fatal(err)
	}
	var count uint64
	if _, err := fmt.Sscan(string(content), &count); err != nil {
		t.Fatalf("%s: %q: %v", peerFile, content, err)
	}
	return count
}

// TestPeer has native kprobes beside Trapline's: whoever comes second at an address gets EBUSY, and probes at different addresses of one
// function work together.
func TestPeer(t *testing.T) {
	watchKernel(t)
	if err := peer("off"); err != nil {
		t.Fatalf("the kernel's configuration lacks CONFIG_TRAPLINE_PEER: %v", err)
	}
	t.Cleanup(func() {
		if err := peer("off"); err != nil {
			t.Error(err)
		}
	})
	const name = "vfs_write"
	f := text(t).only(t, name)
	second, inside := secondInstruction(t, f.Address)
	t.Logf("%s: the second instruction is at +%d", name, second)

	for _, flags := range []uint64{0, abi.FlagNoJump} {
		attr := abi.Attr{Kind: abi.KindEntry, Flags: flags, GroupFD: -1, Address: f.Address}

		t.Run(fmt.Sprintf("kprobe first, flags %#x", flags), func(t *testing.T) {
			peerMust(t, "entry "+name+"+0")
			p, err := openProbe(attr, nil)
			if why, ok := errors.AsType[*refusal](err); !ok || why.errno != unix.EBUSY || why.reason != abi.ReasonKprobe {
				t.Errorf("a probe where a kprobe is: %v, want EBUSY and the reason %v", err, abi.ReasonKprobe)
			}
			if err == nil {
				p.close()
			}
			peerMust(t, "off")
			if p, err = openProbe(attr, nil); err != nil {
				t.Fatalf("when the kprobe has gone: %v", err)
			}
			if err := errors.Join(p.enable(), p.close()); err != nil {
				t.Error(err)
			}
		})

		t.Run(fmt.Sprintf("probe first, flags %#x", flags), func(t *testing.T) {
			p, err := openProbe(attr, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if err := p.enable(); err != nil {
				t.Fatal(err)
			}
			if err := peer("entry " + name + "+0"); !errors.Is(err, unix.EBUSY) {
				t.Errorf("a kprobe where a probe is: %v, want EBUSY", err)
			}
			if flags == 0 {
				// A jump covers what a kprobe behind it would change. It may also be refused.
				if err := peer(fmt.Sprintf("entry %s+%d", name, second)); err != nil && !errors.Is(err, unix.EBUSY) {
					t.Errorf("a kprobe behind a probe: %v", err)
				}
			}
			countsBoth(t, p, false)
		})
	}

	t.Run("both in one function", func(t *testing.T) {
		for _, kind := range []uint32{abi.KindEntry, abi.KindReturn, abi.KindLatency} {
			peerMust(t, fmt.Sprintf("entry %s+%d", name, inside))
			p, err := openProbe(abi.Attr{Kind: kind, GroupFD: -1, Address: f.Address}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.enable(); err != nil {
				t.Error(err)
			}
			countsBoth(t, p, true)
			if err := p.close(); err != nil {
				t.Error(err)
			}
			peerMust(t, "off")
		}
	})

	t.Run("both at returns", func(t *testing.T) {
		// The kretprobe's own entry is elsewhere: what both replace is the return address of nested calls.
		peerMust(t, "latency ksys_write")
		p, err := openAt(f.Address, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		if err := p.enable(); err != nil {
			t.Fatal(err)
		}
		countsBoth(t, p, true)
		peerMust(t, "off")
	})
}

func peerMust(t *testing.T, line string) {
	t.Helper()
	if err := peer(line); err != nil {
		t.Fatalf("kprobe %q: %v", line, err)
	}
}

// secondInstruction finds where the second instruction of a function begins, and one further inside that can be probed.
func secondInstruction(t *testing.T, address uint64) (second, inside uint64) {
	t.Helper()
	for offset := uint64(2); offset < 64 && inside == 0; offset += 2 {
		p, err := openProbe(abi.Attr{Kind: abi.KindEntry, GroupFD: -1, Address: address, Offset: offset}, nil)
		if errors.Is(err, unix.EILSEQ) {
			continue
		}
		if second == 0 {
			second = offset
		}
		if err != nil {
			continue
		}
		if offset >= 8 { // a jump covers at most 6
			inside = offset
		}
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
	}
	if inside == 0 {
		t.Fatal("no instruction inside of the function can be probed")
	}
	return second, inside
}

// countsBoth writes and looks that the probe counts each, and with both set the kprobe too.
func countsBoth(t *testing.T, p probe, both bool) {
	t.Helper()
	const calls = 100
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	before, peerBefore := uint64(0), peerCount(t)
	if stats, err := p.stats(); err == nil {
		before = stats.Count
	}
	for range calls {
		if _, err := unix.Write(null, []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := p.stats()
	if err != nil {
		t.Error(err)
	}
	if stats.Count-before < calls || stats.Missed > 0 {
		t.Errorf("the probe counted %d of %d calls, and missed %d", stats.Count-before, calls, stats.Missed)
	}
	if got := peerCount(t) - peerBefore; both && got < calls {
		t.Errorf("the kprobe counted %d of %d calls", got, calls)
	}
}
