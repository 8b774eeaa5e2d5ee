// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// How often a probe comes and goes.
const (
	shortCycles  = 2_000
	stressCycles = 100_000
	// On a busy machine each change of the text waits for turns of both emulated harts: the short form then ends before its time.
	shortCyclesTime = 45 * time.Second
	shortCyclesMin  = 100
	cyclesAlive     = 8 // probes that stay for some cycles, so that they come and go beside each other
)

// hot are functions that the load calls all the time; half of the cycles are on them.
var hot = []string{
	"vfs_write", "vfs_read", "ksys_read", "do_sys_openat2", "schedule", "__schedule", "try_to_wake_up", "handle_mm_fault", "do_exit", "kfree",
	"kmem_cache_free", "_raw_spin_lock", "_raw_spin_unlock_irqrestore", "mutex_lock", "hrtimer_interrupt", "ktime_get", "tcp_sendmsg",
	"unix_stream_sendmsg", "copy_page_range", "wake_up_new_task", "update_curr", "dequeue_task_fair", "finish_task_switch.isra.0", "tick_sched_timer",
}

// TestCycles opens, enables and closes probes as fast as it can while the load runs through them.
func TestCycles(t *testing.T) {
	watchKernel(t)
	k := text(t)
	random := rand.New(rand.NewPCG(seed(t), 0))
	note := notebook(t, "cycle")
	var often []uint64
	for _, name := range hot {
		for _, f := range k.symbols.Lookup(name) {
			often = append(often, f.Address)
		}
	}
	startLoad(t)
	runBefore(t)
	n := shortCycles
	if stress(t) > 0 {
		n = stressCycles
	}
	began := time.Now()
	var alive [cyclesAlive]probe
	for i := range alive {
		alive[i].fd = -1
	}
	refused, done := 0, 0
	for i := range n {
		if stress(t) == 0 && i >= shortCyclesMin && time.Since(began) > shortCyclesTime {
			t.Logf("after %v only %d of %d", shortCyclesTime, i, n)
			break
		}
		done++
		slot := &alive[random.IntN(len(alive))]
		if err := end(*slot, random); err != nil {
			t.Error(err)
		}
		slot.fd = -1
		attr := randomAttr(random, k)
		if random.IntN(2) == 0 {
			attr.Address = often[random.IntN(len(often))]
		}
		if i%16 == 0 {
			note(fmt.Sprintf("%d of %d: %s, kind %d, flags %#x", i, n, k.at(attr.Address), attr.Kind, attr.Flags))
		}
		p, err := openProbe(attr, nil)
		if why, ok := errors.AsType[*refusal](err); ok && why.documented() {
			refused++
			continue
		} else if err != nil {
			t.Fatalf("%s: %v", k.at(attr.Address), err)
		}
		*slot = p
		if err := p.enable(); err != nil {
			t.Fatalf("enable %s: %v", k.at(attr.Address), err)
		}
	}
	for _, p := range alive {
		if err := end(p, random); err != nil {
			t.Error(err)
		}
	}
	took := time.Since(began)
	t.Logf("%d probes came and went in %v, %v each; %d more were refused", done-refused, took.Round(time.Millisecond), (took / time.Duration(done)).Round(time.Microsecond), refused)
}

// randomAttr is a probe of any kind on any function.
func randomAttr(random *rand.Rand, k *kernelText) abi.Attr {
	attr := abi.Attr{Kind: abi.KindEntry + uint32(random.IntN(3)), GroupFD: -1, Address: k.functions[random.IntN(len(k.functions))].Address}
	if random.IntN(2) == 0 {
		attr.Flags |= abi.FlagNoJump
	}
	if attr.Kind != abi.KindEntry && random.IntN(4) == 0 {
		attr.Flags |= abi.FlagErrors
	}
	if attr.Kind == abi.KindLatency && random.IntN(4) == 0 {
		attr.Flags |= abi.FlagCPUTime
	}
	if attr.Kind != abi.KindEntry && random.IntN(4) == 0 {
		attr.Active = 1 + uint32(random.IntN(3)) // too few for some
	}
	return attr
}

// end takes a probe out, in one of the ways there are. fd -1 is none.
func end(p probe, random *rand.Rand) error {
	if p.fd < 0 {
		return nil
	}
	var err error
	switch random.IntN(4) {
	case 0:
		err = p.disable()
	case 1: // off, on and off again
		err = errors.Join(p.disable(), p.enable(), p.disable(), p.enable())
	case 2: // by the end of its last copy
		copied, e := unix.Dup(p.fd)
		if e != nil {
			return e
		}
		err = errors.Join(p.close(), unix.Close(copied))
		return err
	}
	return errors.Join(err, p.close())
}
