// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/procfs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// The tests run this binary again as a target: a process that opens descriptors and then waits to be collected.

const targetEnv = "TRAPLINE_FDS_TARGET"

func TestMain(m *testing.M) {
	name := os.Getenv(targetEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	setup, ok := targets[name]
	if !ok {
		fmt.Println("no such target:", name)
		os.Exit(2)
	}
	says, err := setup(os.Args[len(os.Args)-1])
	if err != nil {
		fmt.Println("target:", err)
		os.Exit(1)
	}
	fmt.Println("ready", says)
	select {}
}

// target is a running target.
type target struct {
	t     testing.TB
	cmd   *exec.Cmd
	task  *Task
	says  string // what its setup returned
	dir   string // its directory
	links map[int]string
	infos map[int]*procfs.FDInfo
	stats map[int]unix.Stat_t
}

// start runs a target until it is ready and stops it.
func start(t testing.TB, name string) *target {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Env = append(os.Environ(), targetEnv+"="+name)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	x := &target{t: t, cmd: cmd, dir: dir}
	t.Cleanup(x.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	says, ok := strings.CutPrefix(strings.TrimSpace(line), "ready")
	if err != nil || !ok {
		t.Fatalf("target %s: said %q, %v", name, line, err)
	}
	x.says = strings.TrimSpace(says)
	x.stop()
	proc, err := procfs.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proc.Close() })
	x.task = &Task{Pid: cmd.Process.Pid, VPid: cmd.Process.Pid, Comm: "target", Proc: proc}
	return x
}

func (x *target) stop() {
	x.t.Helper()
	if err := x.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		x.t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(x.cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		x.t.Fatalf("target did not stop: %v, %v", status, err)
	}
}

func (x *target) kill() {
	if x.cmd.ProcessState == nil {
		_ = x.cmd.Process.Kill()
		_ = x.cmd.Wait()
	}
}

// look keeps what /proc says about the descriptors.
func (x *target) look() {
	x.t.Helper()
	fds, err := x.task.Proc.FDs(nil)
	if err != nil {
		x.t.Fatal(err)
	}
	x.links, x.infos, x.stats = map[int]string{}, map[int]*procfs.FDInfo{}, map[int]unix.Stat_t{}
	for _, fd := range fds {
		x.links[fd], err = x.task.Proc.FDLink(fd)
		if err != nil {
			x.t.Fatal(err)
		}
		if x.infos[fd], err = x.task.Proc.FDInfo(fd); err != nil {
			x.t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", x.task.Pid, fd), &st); err != nil {
			x.t.Fatal(err)
		}
		x.stats[fd] = st
	}
}

func pagesIDs() func() uint32 {
	var n uint32
	return func() uint32 { n++; return n }
}

// dump collects the target into a directory of images.
func (x *target) dump(o *Options) (string, error) {
	x.t.Helper()
	if o == nil {
		o = &Options{}
	}
	o.PagesID = pagesIDs()
	dir := x.t.TempDir()
	w, err := image.Create(dir)
	if err != nil {
		x.t.Fatal(err)
	}
	defer w.Close()
	c := NewCollector(w, o)
	defer c.Close()
	id, err := c.Collect(x.task)
	if err != nil {
		return "", err
	}
	if id != 2 {
		x.t.Errorf("first table has number %d, want 2", id)
	}
	if err := c.Settle(); err != nil {
		return "", err
	}
	if err := c.Finish(); err != nil {
		return "", err
	}
	if err := w.Finish(&inventory.InventoryEntry{ImgVersion: proto.Uint32(2)}); err != nil {
		x.t.Fatal(err)
	}
	return dir, nil
}

// load reads images and opens every descriptor of table 2. The result maps the target's numbers to those of the test.
func load(t testing.TB, dir string, o *RestoreOptions) (*Set, map[int]int, error) {
	t.Helper()
	r, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	s, err := Load(r, o)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(s.Abort)
	table, err := s.Table(2)
	if err != nil {
		return nil, nil, err
	}
	fds := map[int]int{}
	for _, e := range table {
		fd, err := s.Open(e.ID)
		if err != nil {
			s.Abort()
			return s, nil, err
		}
		fds[e.FD] = fd
	}
	return s, fds, nil
}

// roundTrip dumps a target, kills it, opens its descriptors in the test and compares what /proc says about them.
func roundTrip(t *testing.T, name string, d *Options, o *RestoreOptions) (*target, *Set, map[int]int) {
	t.Helper()
	return roundTripAllowing(t, name, d, o)
}

// roundTripAllowing is roundTrip where some descriptors, by the target's names for them, may lead to other paths.
func roundTripAllowing(t *testing.T, name string, d *Options, o *RestoreOptions, elsewhere ...string) (*target, *Set, map[int]int) {
	t.Helper()
	x := start(t, name)
	x.look()
	dir, err := x.dump(d)
	if err != nil {
		t.Fatal(err)
	}
	before := x.infos
	x.look()
	for fd, info := range x.infos {
		a, err := json.Marshal(before[fd])
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) && info.TimerFD == nil {
			t.Errorf("the dump changed fd %d of the target: %s, was %s", fd, b, a)
		}
	}
	x.kill()
	s, fds, err := load(t, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range elsewhere {
		delete(x.links, x.number(v))
	}
	x.compare(fds)
	return x, s, fds
}

func (x *target) compare(fds map[int]int) {
	x.t.Helper()
	self, err := procfs.Open(os.Getpid())
	if err != nil {
		x.t.Fatal(err)
	}
	defer self.Close()
	if len(fds) != len(x.infos) {
		x.t.Errorf("%d descriptors after, %d before", len(fds), len(x.infos))
	}
	for n, fd := range fds {
		info, err := self.FDInfo(fd)
		if err != nil {
			x.t.Fatal(err)
		}
		link, err := self.FDLink(fd)
		if err != nil {
			x.t.Fatal(err)
		}
		want := x.infos[n]
		const apart = unix.O_CLOEXEC | unix.O_ASYNC | unix.O_TMPFILE&^unix.O_DIRECTORY
		a, b := info.Flags&^apart, want.Flags&^apart
		if want.Flags&unix.O_TMPFILE == unix.O_TMPFILE {
			b &^= unix.O_DIRECTORY
		}
		if a != b {
			x.t.Errorf("fd %d (%s): flags %#o, want %#o", n, x.links[n], a, b)
		}
		if info.Pos != want.Pos {
			x.t.Errorf("fd %d (%s): position %d, want %d", n, x.links[n], info.Pos, want.Pos)
		}
		if strings.HasPrefix(link, "/") || strings.HasPrefix(link, "anon_inode:") {
			if w, ok := x.links[n]; ok && link != w && !strings.HasSuffix(w, deletedSuffix) {
				x.t.Errorf("fd %d: leads to %s, want %s", n, link, x.links[n])
			}
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			x.t.Fatal(err)
		}
		w := x.stats[n]
		regular := st.Mode&unix.S_IFMT == unix.S_IFREG
		if st.Mode != w.Mode || st.Size != w.Size && regular || st.Uid != w.Uid && regular || st.Nlink != w.Nlink && w.Nlink == 1 {
			x.t.Errorf("fd %d (%s): mode %#o size %d uid %d links %d, want %#o %d %d %d", n, x.links[n],
				st.Mode, st.Size, st.Uid, st.Nlink, w.Mode, w.Size, w.Uid, w.Nlink)
		}
		if (info.EventFD == nil) != (want.EventFD == nil) || info.EventFD != nil &&
			(info.EventFD.Count != want.EventFD.Count || info.EventFD.Semaphore != want.EventFD.Semaphore) {
			x.t.Errorf("fd %d: eventfd %+v, want %+v", n, info.EventFD, want.EventFD)
		}
		if (info.SigMask == nil) != (want.SigMask == nil) || info.SigMask != nil && *info.SigMask != *want.SigMask {
			x.t.Errorf("fd %d: signalfd differs", n)
		}
	}
}
