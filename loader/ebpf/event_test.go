// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"os/exec"
	"testing"

	"github.com/trapline/trapline/probes"
)

// events runs a command and gives copies of the events that it made.
func events(t *testing.T, s *Session, args ...string) []probes.Event {
	t.Helper()
	s.Enable()
	cmd := exec.Command(args[0], args[1:]...)
	if err := s.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // all events are there: only what waits is to be read
	var list []probes.Event
	err := s.Events(ctx, func(e *probes.Event) {
		c := *e
		c.Args = append([]probes.Value(nil), e.Args...)
		c.Stack = append([]uint64(nil), e.Stack...)
		list = append(list, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSyscallEvents(t *testing.T) {
	s := open(t, Options{Events: &EventOptions{}}, "syscall:openat path=%a1:ustring flags=%a2:x32 if path ~ '/dev/*'")
	list := events(t, s, bytesOneByOne("1")...)
	if len(list) != 2 {
		t.Fatalf("%d events, want 2: %+v", len(list), list)
	}
	for i, want := range []string{"/dev/zero", "/dev/null"} {
		e := list[i]
		if len(e.Args) != 2 || e.Args[0].Str != want || e.Args[0].Name != "path" || e.Args[0].Err != "" {
			t.Errorf("event %d: arguments %+v; want path %s", i, e.Args, want)
		}
		if e.Comm != "dd" || e.PID == 0 || e.PID != e.TID || e.Time == 0 || !e.HasRet || int64(e.Ret) < 0 || !e.HasLatency || e.Latency == 0 || e.Kind != probes.KindLatency {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if list[0].Time >= list[1].Time {
		t.Errorf("events are not in the order of time: %d, %d", list[0].Time, list[1].Time)
	}
}

func TestUprobeEvents(t *testing.T) {
	path := recursion(t)
	s := open(t, Options{Events: &EventOptions{Registers: true, Stack: true}},
		"uprobe:"+path+":greet who=%a0:string times=%a1:s32 bad=+0(%a1):u8 sp=%sp", "uprobe:"+path+":recurse%latency n=%a0:u64 $comm")
	list := events(t, s, path, "3", "1", "0", "0", "0")
	if len(list) != 4 {
		t.Fatalf("%d events, want 4: %+v", len(list), list)
	}
	for i := range 3 {
		e := list[i] // the innermost call returns first
		if e.Args[0].Num != uint64(i+1) || e.Args[1].Str != "recursion" && e.Args[1].Str == "" || e.Ret == 0 {
			t.Errorf("recurse %d: %+v", i, e)
		}
	}
	e := list[3]
	if e.Args[0].Str != "world" || e.Args[1].Num != 7 || e.Args[2].Err == "" || e.HasLatency {
		t.Errorf("greet: %+v", e.Args)
	}
	if e.Trapframe == nil || e.Trapframe.SP() != e.Args[3].Num || e.Trapframe.RA() == 0 || e.Trapframe.Arg(1)&0xffffffff != 7 {
		t.Errorf("greet: registers %+v", e.Trapframe)
	}
}

// What finds the ring full is counted, and nothing else is lost.
func TestDroppedEvents(t *testing.T) {
	text := "syscall:write%entry if %a2 == 1"
	s := open(t, Options{Events: &EventOptions{RingBytes: 1}}, text)
	list := events(t, s, bytesOneByOne("1000")...)
	r := s.Read(nil)[0]
	if r.Losses.Dropped == 0 || uint64(len(list))+r.Losses.Dropped != 1000 || r.Stats.Count != 1000 {
		t.Errorf("%d events shown, %d dropped, %d hits; want 1000 hits, all shown or dropped", len(list), r.Losses.Dropped, r.Stats.Count)
	}
}

func TestTracepointEvents(t *testing.T) {
	s := open(t, Options{Events: &EventOptions{}}, "tracepoint:sched:sched_process_exec pid=$pid:s32 old=$old_pid", "tracepoint:task:task_newtask comm=args.comm who=args.pid")
	list := events(t, s, "sh", "-c", "true; /bin/true; exit 0")
	var execs, forks int
	for _, e := range list {
		switch e.Probe {
		case "tracepoint:sched:sched_process_exec":
			execs++
			if len(e.Args) != 2 || e.Args[1].Num != uint64(e.PID) {
				t.Errorf("exec in process %d: %+v", e.PID, e.Args)
			}
		default:
			forks++
			if e.Args[0].Str != "sh" || e.Args[1].Num == 0 {
				t.Errorf("fork: %+v", e.Args)
			}
		}
	}
	if execs != 2 || forks != 1 {
		t.Errorf("%d programs and %d forks, want 2 and 1: %+v", execs, forks, list)
	}
}
