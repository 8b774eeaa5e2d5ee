// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSelf(t *testing.T) {
	p, err := Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s, err := p.Status()
	if err != nil {
		t.Fatal(err)
	}
	if s.Pid != os.Getpid() || s.PPid != os.Getppid() || s.Uid[1] != uint32(os.Geteuid()) || s.VmRSS == 0 || len(s.CPUsAllowed) == 0 || !s.HasUmask {
		t.Errorf("status: %+v", s)
	}
	st, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if st.Pid != os.Getpid() || st.Pgrp != unix.Getpgrp() || st.ExitSignal != int(unix.SIGCHLD) || st.StartStack == 0 || st.EnvEnd == 0 || st.Flags&PFKthread != 0 {
		t.Errorf("stat: %+v", st)
	}
	uptime, err := Uptime()
	if err != nil || st.StartTime == 0 || st.StartTime*1e7 > uptime {
		t.Errorf("started at tick %d, up for %d ns, %v", st.StartTime, uptime, err)
	}
	exe, err := p.Exe()
	if want, _ := os.Executable(); err != nil || exe != want {
		t.Errorf("exe %q, %v, want %q", exe, err, want)
	}
	cwd, err := p.Cwd()
	if want, _ := os.Getwd(); err != nil || cwd != want {
		t.Errorf("cwd %q, %v, want %q", cwd, err, want)
	}
	if root, err := p.Root(); err != nil || root != "/" {
		t.Errorf("root %q, %v", root, err)
	}
	cmdline, err := p.Cmdline()
	if want := strings.Join(os.Args, "\x00") + "\x00"; err != nil || string(cmdline) != want {
		t.Errorf("cmdline %q, %v, want %q", cmdline, err, want)
	}
	environ, err := p.Environ()
	if err != nil || !bytes.HasPrefix(environ, []byte(os.Environ()[0]+"\x00")) {
		t.Errorf("environ %q, %v", environ, err)
	}
	auxv, err := p.Auxv()
	if words := AuxvWords(auxv); err != nil || len(words) < 20 || !slices.Contains(words, pageSize) {
		t.Errorf("auxv %v, %v", words, err)
	}
	limits, err := p.Limits()
	if err != nil {
		t.Fatal(err)
	}
	for i := range limits {
		var want unix.Rlimit
		if err := unix.Prlimit(0, i, nil, &want); err != nil || limits[i] != want {
			t.Errorf("limit %d: %+v, want %+v, %v", i, limits[i], want, err)
		}
	}
	mounts, err := p.MountInfo()
	if err != nil || !slices.ContainsFunc(mounts, func(m Mount) bool { return m.MountPoint == "/proc" && m.FSType == "proc" }) {
		t.Errorf("mounts %+v, %v", mounts, err)
	}
	if _, err := p.Cgroup(); err != nil {
		t.Errorf("cgroup: %v", err)
	}
	ns, err := p.NS()
	var stat unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &stat); err != nil {
		t.Fatal(err)
	}
	if err != nil || ns["pid"].Ino != stat.Ino || ns["pid"] != ns["pid_for_children"] || ns["mnt"] == ns["uts"] {
		t.Errorf("namespaces %+v, %v", ns, err)
	}
	if _, err := p.Wchan(); err != nil {
		t.Errorf("wchan: %v", err)
	}
	if v, err := p.Personality(); err != nil || v != 0 {
		t.Errorf("personality %#x, %v", v, err)
	}
	for name, read := range map[string]func() (uint32, error){"loginuid": p.LoginUID, "sessionid": p.SessionID} {
		if _, err := read(); err != nil && !errors.Is(err, ErrNotSupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if pids, err := Pids(nil); err != nil || !slices.Contains(pids, os.Getpid()) || !slices.IsSorted(pids) {
		t.Errorf("pids %v, %v", pids, err)
	}
}

func TestState(t *testing.T) {
	p, line := target(t, "state", 0)
	var tid int
	if _, err := fmt.Sscan(line, &tid); err != nil {
		t.Fatal(err)
	}
	task := p.Task(tid)
	const comm = "a) \n\\("
	if got, err := task.Comm(); err != nil || got != comm {
		t.Errorf("comm %q, %v", got, err)
	}
	if s, err := task.Status(); err != nil || s.Name != comm || s.Pid != tid || s.Tgid != p.Pid() || s.Umask != 0o27 || !s.HasUmask {
		t.Errorf("status %+v, %v", s, err)
	}
	if s, err := task.Stat(); err != nil || s.Comm != comm || s.Pid != tid || s.NumThreads < 2 {
		t.Errorf("stat %+v, %v", s, err)
	}
	if slack, err := task.TimerSlack(); err != nil || slack != 12345 {
		t.Errorf("timer slack %d, %v", slack, err)
	}
	if adj, err := p.OOMScoreAdj(); err != nil || adj != 77 {
		t.Errorf("oom_score_adj %d, %v", adj, err)
	}
	if mask, err := p.CoredumpFilter(); err != nil || mask != 0x7b {
		t.Errorf("coredump_filter %#x, %v", mask, err)
	}
	if l, err := p.Limits(); err != nil || l[unix.RLIMIT_CORE] != (unix.Rlimit{Cur: 0, Max: 4096}) {
		t.Errorf("limits %+v, %v", l, err)
	}
	if b, err := p.Cmdline(); err != nil || string(b) != "/proc/self/exe\x00an argument\x00\x00" {
		t.Errorf("cmdline %q, %v", b, err)
	}
	if b, err := p.Environ(); err != nil || string(b) != childEnv+"=state 0\x00" {
		t.Errorf("environ %q, %v", b, err)
	}
	timers, err := p.Timers()
	slices.SortFunc(timers, func(a, b Timer) int { return a.ID - b.ID })
	want := []Timer{
		{ID: 0, Signal: 40, Value: 0x123456789abc, Target: p.Pid()},
		{ID: 1, Signal: 12, Value: 7, ToThread: true, Target: tid, ClockID: 1},
		{ID: 2, Notify: NotifyNone, Target: p.Pid()},
	}
	if err != nil || !reflect.DeepEqual(timers, want) {
		t.Errorf("timers %+v, %v, want %+v", timers, err, want)
	}
	// The first thread or another waits in read or futex; none is in no system call for long.
	s, err := p.Syscall()
	if err != nil || !s.Running && (s.SP == 0 || s.PC == 0) {
		t.Errorf("syscall %+v, %v", s, err)
	}
	if p.Task(1 << 29).Alive() {
		t.Error("a thread that never was is alive")
	}
	if _, err := p.Task(1 << 29).Stat(); !errors.Is(err, ErrGone) {
		t.Errorf("stat of a thread that never was: %v", err)
	}
}

func TestThreads(t *testing.T) {
	p, _ := target(t, "threads", 40)
	tids, err := p.Tasks([]int{-1})
	if err != nil || len(tids) < 42 || tids[0] != -1 || !slices.IsSorted(tids) || !slices.Contains(tids, p.Pid()) {
		t.Fatalf("tasks %v, %v", tids, err)
	}
	for _, tid := range tids[1:] {
		if s, err := p.Task(tid).Stat(); err != nil || s.Pid != tid {
			t.Errorf("thread %d: %+v, %v", tid, s, err)
		}
		if ns, err := p.Task(tid).NS(); err != nil || len(ns) < 5 {
			t.Errorf("thread %d: %+v, %v", tid, ns, err)
		}
	}
}

func TestChildren(t *testing.T) {
	p, line := target(t, "tree", 0)
	var zombie, running int
	if _, err := fmt.Sscan(line, &zombie, &running); err != nil {
		t.Fatal(err)
	}
	want := []int{zombie, running}
	slices.Sort(want)
	if got, err := p.Children(); err != nil || !slices.Equal(got, want) {
		t.Errorf("children %v, %v, want %v", got, err, want)
	}
	if got, err := p.scanChildren(); err != nil || !slices.Equal(got, want) {
		t.Errorf("children by a scan %v, %v, want %v", got, err, want)
	}

	z, err := Open(zombie)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if s, err := z.Stat(); err != nil || s.State != 'Z' || s.PPid != p.Pid() {
		t.Errorf("stat of a zombie: %+v, %v", s, err)
	}
	if s, err := z.Status(); err != nil || s.State != 'Z' || s.HasMM || s.HasUmask {
		t.Errorf("status of a zombie: %+v, %v", s, err)
	}
	for name, read := range map[string]func() error{
		"maps":     func() error { _, err := z.Maps(nil); return err },
		"smaps":    func() error { _, err := z.Smaps(nil); return err },
		"coredump": func() error { _, err := z.CoredumpFilter(); return err },
	} {
		if err := read(); !errors.Is(err, ErrNoMM) {
			t.Errorf("%s of a zombie: %v, want ErrNoMM", name, err)
		}
	}
	if _, err := z.Exe(); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNoMM) || errors.Is(err, ErrGone) {
		t.Errorf("exe of a zombie: %v", err)
	}
	for name, read := range map[string]func() error{
		"limits": func() error { _, err := z.Limits(); return err },
		"timers": func() error { _, err := z.Timers(); return err },
		"fds":    func() error { _, err := z.FDs(nil); return err },
		"kids":   func() error { _, err := z.Children(); return err },
		"ns":     func() error { _, err := z.NS(); return err },
	} {
		if err := read(); errors.Is(err, ErrGone) {
			t.Errorf("%s of a zombie: %v", name, err)
		}
	}
	if !z.Alive() {
		t.Error("a zombie is not alive")
	}
}

func TestGone(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{childEnv + "=idle"}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pm, err := p.Pagemap()
	if err != nil {
		t.Fatal(err)
	}
	defer pm.Close()
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"status":   func() error { _, err := p.Status(); return err },
		"stat":     func() error { _, err := p.Stat(); return err },
		"thread":   func() error { _, err := p.Task(p.Pid()).Stat(); return err },
		"maps":     func() error { _, err := p.Maps(nil); return err },
		"fds":      func() error { _, err := p.FDs(nil); return err },
		"tasks":    func() error { _, err := p.Tasks(nil); return err },
		"fdinfo":   func() error { _, err := p.FDInfo(0); return err },
		"link":     func() error { _, err := p.FDLink(0); return err },
		"exe":      func() error { _, err := p.Exe(); return err },
		"ns":       func() error { _, err := p.NS(); return err },
		"children": func() error { _, err := p.Children(); return err },
		"timers":   func() error { _, err := p.Timers(); return err },
		"auxv":     func() error { _, err := p.Auxv(); return err },
		"slack":    func() error { _, err := p.Task(p.Pid()).TimerSlack(); return err },
		"map":      func() error { _, err := p.MapFile(4096, 8192, unix.O_RDONLY); return err },
		"open":     func() error { _, err := Open(p.Pid()); return err },
	} {
		if err := read(); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), fmt.Sprint(p.Pid())) {
			t.Errorf("%s: %v, want ErrGone and the pid", name, err)
		}
	}
	if p.Alive() {
		t.Error("alive")
	}
}

func TestKernelThread(t *testing.T) {
	pids, err := Pids(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		p, err := Open(pid)
		if err != nil {
			continue
		}
		s, err := p.Stat()
		if err == nil && s.Flags&PFKthread != 0 {
			if _, err := p.Maps(nil); !errors.Is(err, ErrNoMM) {
				t.Errorf("maps of %d (%s): %v, want ErrNoMM", pid, s.Comm, err)
			}
			if _, err := p.Exe(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("exe of %d (%s): %v, want not exist", pid, s.Comm, err)
			}
			_ = p.Close()
			return
		}
		_ = p.Close()
	}
	t.Log("no kernel thread in this PID namespace")
}

func TestSystem(t *testing.T) {
	for name, read := range map[string]func() (int, error){"pid_max": PidMax, "ns_last_pid": NSLastPid} {
		if v, err := read(); err != nil || v <= 0 {
			t.Errorf("%s: %d, %v", name, v, err)
		}
	}
	if v, err := ShmNextID(); err != nil || v < -1 {
		t.Errorf("shm_next_id: %d, %v", v, err)
	}
	if id, err := BootID(); err != nil || len(id) != 36 {
		t.Errorf("boot id %q, %v", id, err)
	}
	id, err := unix.SysvShmGet(0x7a11ce, 12345, unix.IPC_CREAT|unix.IPC_EXCL|0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	segments, err := SysVShm()
	i := slices.IndexFunc(segments, func(s ShmSegment) bool { return s.ID == id })
	if err != nil || i < 0 || segments[i].Key != 0x7a11ce || segments[i].Size != 12345 || segments[i].Perms != 0o640 || segments[i].CPid != os.Getpid() {
		t.Errorf("segments %+v, %v", segments, err)
	}
}
