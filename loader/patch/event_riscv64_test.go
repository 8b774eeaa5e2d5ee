// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// events has this program do some work and gives copies of the events that it made.
func events(t *testing.T, s *Session, args ...string) []probes.Event {
	t.Helper()
	run(t, s, command(args...))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // all events are there: only what waits is to be read
	var list []probes.Event
	if err := s.Events(ctx, func(e *probes.Event) { list = append(list, copyOf(e)) }); err != nil {
		t.Fatal(err)
	}
	return list
}

func copyOf(e *probes.Event) probes.Event {
	c := *e
	c.Args = append([]probes.Value(nil), e.Args...)
	c.Stack = append([]uint64(nil), e.Stack...)
	if e.Trapframe != nil {
		var words []uint64
		for i := range e.Trapframe.Arch().Words() {
			n, ok := e.Trapframe.RegByName(e.Trapframe.Arch().WordName(i))
			if i == e.Trapframe.Arch().PCWord() {
				words = append(words, e.Trapframe.PC())
				continue
			}
			if !ok {
				words = append(words, 0)
				continue
			}
			words = append(words, e.Trapframe.Reg(n))
		}
		c.Trapframe = probes.NewTrapframe(e.Trapframe.Arch(), words, append([]uint64(nil), e.Trapframe.Stack()...))
	}
	return c
}

func TestEvents(t *testing.T) {
	s := open(t, Options{Events: &EventOptions{}}, "syscall:openat path=%a1:ustring flags=%a2:x32 who=$comm if path ~ '/dev/*'")
	list := events(t, s, "opens", "/dev/zero", "3")
	if len(list) != 3 {
		t.Fatalf("%d events, want 3: %+v", len(list), list)
	}
	for i, e := range list {
		if len(e.Args) != 3 || e.Args[0].Str != "/dev/zero" || e.Args[0].Name != "path" || e.Args[0].Err != "" || e.Args[1].Num == 0 || e.Args[2].Str != "exe" {
			t.Errorf("event %d: arguments %+v; want path /dev/zero, flags, exe", i, e.Args)
		}
		if e.Comm != "exe" || e.PID == 0 || e.PID != e.TID || e.Time == 0 || !e.HasRet || int64(e.Ret) < 0 || !e.HasLatency || e.Latency == 0 || e.Kind != probes.KindLatency {
			t.Errorf("event %d: %+v", i, e)
		}
		if i > 0 && e.Time <= list[i-1].Time {
			t.Errorf("events are not in the order of time: %d, %d", list[i-1].Time, e.Time)
		}
	}
}

// stacks says whether the kernel records call chains.
func stacks(t *testing.T) bool {
	t.Helper()
	for _, f := range Features() {
		if f.Name == "patch_stack" {
			return f.Test() == nil
		}
	}
	t.Fatal("no such feature")
	return false
}

// A kernel without frame pointers says that it has no stacks, and what it lacks.
func TestNoStack(t *testing.T) {
	if stacks(t) {
		return
	}
	_, err := Open(t.Context(), spectest.Parse(t, "vfs_write"), &Options{Events: &EventOptions{Stack: true}})
	if !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "CONFIG_FRAME_POINTER") {
		t.Errorf("%v", err)
	}
}

// An event has the registers as they were, and the stack where the kernel records it, by each method.
func TestRegistersAndStack(t *testing.T) {
	symbols, err := probes.LoadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	stack := stacks(t)
	for _, method := range []Method{MethodJump, MethodSlot} {
		s := open(t, Options{Only: method, Events: &EventOptions{Registers: true, Stack: stack}}, "vfs_write len=%a2:u64 ra=%ra sp=%sp pc=%pc if len == 7")
		list := events(t, s, "writes", "5")
		if len(list) != 5 {
			t.Fatalf("%v: %d events, want 5", method, len(list))
		}
		for _, e := range list {
			f := e.Trapframe
			if f == nil {
				t.Fatalf("%v: no registers", method)
			}
			if f.Arg(2) != 7 || f.RA() != e.Args[1].Num || f.SP() != e.Args[2].Num || f.PC() != e.Args[3].Num {
				t.Errorf("%v: registers a2 %d, ra %#x, sp %#x, pc %#x; arguments %+v", method, f.Arg(2), f.RA(), f.SP(), f.PC(), e.Args)
			}
			if at, offset, _ := symbols.At(f.PC()); at.Name != "vfs_write" || offset != 0 {
				t.Errorf("%v: pc %#x, in %s", method, f.PC(), at.Name)
			}
			var names []string
			for _, address := range e.Stack {
				if at, _, ok := symbols.At(address); ok {
					names = append(names, at.Name)
				}
			}
			if text := strings.Join(names, " "); stack && !strings.HasPrefix(text, "vfs_write ksys_write ") {
				t.Errorf("%v: stack %s (%#x)", method, text, e.Stack)
			}
			if e.HasRet || e.HasLatency || e.Kind != probes.KindEntry {
				t.Errorf("%v: %+v", method, e)
			}
		}
	}
}

// Return probes show what is there at the return.
func TestReturnEvents(t *testing.T) {
	s := open(t, Options{Events: &EventOptions{}}, "vfs_write%return ret=$retval:s64 if $retval == 7")
	list := events(t, s, "writes", "4")
	if len(list) != 4 {
		t.Fatalf("%d events, want 4: %+v", len(list), list)
	}
	for _, e := range list {
		if e.Ret != 7 || !e.HasRet || e.HasLatency || e.Kind != probes.KindReturn || e.Args[0].Num != 7 {
			t.Errorf("%+v", e)
		}
	}
}

// What finds the ring full is counted, and nothing else is lost.
func TestDroppedEvents(t *testing.T) {
	const text, n = "vfs_write%entry if %a2 == 7", 1000
	s := open(t, Options{Events: &EventOptions{RingBytes: 1}}, text)
	list := events(t, s, "writes", strconv.Itoa(n))
	got := byText(s)[text]
	if got.Losses.Dropped == 0 || uint64(len(list))+got.Losses.Dropped != n || got.Stats.Count != n {
		t.Errorf("%d events shown, %d dropped, %d hits; want %d hits, all shown or dropped", len(list), got.Losses.Dropped, got.Stats.Count, n)
	}
}

// A ring goes around and around while it is read, from several harts at once.
func TestManyEvents(t *testing.T) {
	const text, threads, each = "vfs_write%entry len=%a2:u64 fd=$tid:u32 if len == 7", 4, 5000
	s := open(t, Options{Events: &EventOptions{RingBytes: 64 << 10}}, text)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var read, bad uint64
	go func() {
		done <- s.Events(ctx, func(e *probes.Event) {
			read++
			if len(e.Args) != 2 || e.Args[0].Num != 7 || e.Args[1].Num != uint64(e.TID) || e.Comm != "exe" {
				bad++
			}
		})
	}()
	run(t, s, command("threads", strconv.Itoa(threads), strconv.Itoa(each)))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := byText(s)[text]
	if read+got.Losses.Dropped != threads*each || got.Stats.Count != threads*each || bad > 0 {
		t.Errorf("%d events read (%d bad), %d dropped, %d hits; want %d", read, bad, got.Losses.Dropped, got.Stats.Count, threads*each)
	}
	if read < each/10 {
		t.Errorf("only %d events were read", read)
	}
}

// Contexts stand in events too; sessions without events, and closed ones, have none.
func TestEventContextAndClose(t *testing.T) {
	s := open(t, Options{Contexts: 8, Events: &EventOptions{}}, "vfs_write%entry if %a2 == 7")
	s.SetContext(5)
	list := events(t, s, "writes", "2")
	if len(list) != 2 || list[0].Context != 5 {
		t.Errorf("%+v; want two events in context 5", list)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	nothing := func(*probes.Event) { t.Error("an event of a closed session") }
	if err := s.Events(t.Context(), nothing); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := open(t, Options{}, "vfs_write").Events(t.Context(), nothing); !errors.Is(err, errNoEvents) {
		t.Errorf("without events: %v", err)
	}
}
