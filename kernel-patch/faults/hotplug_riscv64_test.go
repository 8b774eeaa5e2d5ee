// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// How often a hart goes and comes back.
const (
	shortHotplugs  = 4
	stressHotplugs = 40
)

// cpu1 is where the second hart is turned off and on.
const cpu1 = "/sys/devices/system/cpu/cpu1/online"

// TestHotplug changes text while a hart is off, under load. When it is back it has the text as it is now: what was placed meanwhile
// counts there, what was taken out does not.
func TestHotplug(t *testing.T) {
	if _, err := os.Stat(cpu1); errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel can't turn harts off (CONFIG_HOTPLUG_CPU); the debug guest's can")
	}
	watchKernel(t)
	startLoad(t)
	rounds := shortHotplugs
	if stress(t) > 0 {
		rounds = stressHotplugs
	}
	t.Cleanup(func() { turn(t, "1") })
	for i := range rounds {
		flags := uint64(i%2) * abi.FlagNoJump
		hotplugRound(t, abi.Attr{Kind: abi.KindEntry + uint32(i%3), Flags: flags, GroupFD: -1, Address: text(t).only(t, "write_null").Address})
		if t.Failed() {
			return
		}
	}
}

func turn(t *testing.T, on string) {
	t.Helper()
	if err := os.WriteFile(cpu1, []byte(on), 0); err != nil {
		t.Fatalf("turn a hart on or off: %v", err)
	}
}

// hotplugRound places a probe while the hart is off, and takes it out while it is off again.
func hotplugRound(t *testing.T, attr abi.Attr) {
	const calls = 50
	p, err := openProbe(attr, nil)
	if err != nil {
		t.Fatal(err)
	}
	turn(t, "0")
	err = p.enable()
	turn(t, "1")
	err = errors.Join(err, writeOnHart(1, calls))
	placed, e := p.stats()
	turn(t, "0")
	err = errors.Join(err, e, p.disable())
	turn(t, "1")
	before, e := p.stats()
	err = errors.Join(err, e, writeOnHart(1, calls))
	after, e := p.stats()
	if err := errors.Join(err, e, p.close()); err != nil {
		t.Error(err)
	}
	if placed.Count < calls || placed.Missed != 0 || after.Count != before.Count {
		t.Errorf("kind %d, flags %#x: %d of %d calls counted, %d missed, then %d more", attr.Kind, attr.Flags, placed.Count, calls, placed.Missed,
			after.Count-before.Count)
	}
}

// writeOnHart writes to /dev/null so many times on a hart.
func writeOnHart(hart, calls int) error {
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends, and its affinity with it
		var set unix.CPUSet
		set.Set(hart)
		err := unix.SchedSetaffinity(0, &set)
		for range calls {
			_, e := unix.Write(null, []byte{1})
			err = errors.Join(err, e)
		}
		done <- err
	}()
	return <-done
}
