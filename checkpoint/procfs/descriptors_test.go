// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDescriptors(t *testing.T) {
	p, line := target(t, "descriptors", 0)
	fds, err := p.FDs(nil)
	if err != nil || !slices.IsSorted(fds) {
		t.Fatalf("descriptors %v, %v", fds, err)
	}
	var root unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct {
		link  string
		check func(f *FDInfo) bool
	}{
		{"(deleted)", func(f *FDInfo) bool {
			return f.Pos == 5 && f.Flags&unix.O_RDWR != 0 && len(f.Locks) == 1 && strings.Contains(f.Locks[0], "FLOCK")
		}},
		{"anon_inode:[eventfd]", func(f *FDInfo) bool {
			return f.EventFD != nil && f.EventFD.Count == 0x5a && f.EventFD.Semaphore && f.Flags&unix.O_CLOEXEC != 0
		}},
		{"anon_inode:[eventpoll]", func(f *FDInfo) bool {
			return len(f.Epoll) == 1 && f.Epoll[0].Events&(unix.EPOLLIN|unix.EPOLLET) == unix.EPOLLIN|unix.EPOLLET && f.Epoll[0].Data == 0xffffffff00000007
		}},
		{"anon_inode:[signalfd]", func(f *FDInfo) bool {
			return f.SigMask != nil && *f.SigMask == 1<<(unix.SIGUSR1-1)|1<<(unix.SIGTERM-1)
		}},
		{"anon_inode:[timerfd]", func(f *FDInfo) bool {
			return f.TimerFD != nil && f.TimerFD.ClockID == unix.CLOCK_MONOTONIC && f.TimerFD.Interval == 3000000005 && f.TimerFD.Value > 900e9 && f.TimerFD.Value <= 1000e9
		}},
		{"anon_inode:inotify", func(f *FDInfo) bool {
			return len(f.Inotify) == 1 && f.Inotify[0].WD == 1 && f.Inotify[0].Ino == root.Ino && f.Inotify[0].Mask&unix.IN_CREATE != 0
		}},
		{"anon_inode:[pidfd]", func(f *FDInfo) bool { return f.PidFD != nil && f.PidFD.Pid == p.Pid() && len(f.PidFD.NSpid) > 0 }},
		{"anon_inode:[fanotify]", func(f *FDInfo) bool {
			return f.Fanotify != nil && len(f.Fanotify.Marks) == 1 && f.Fanotify.Marks[0].Ino == root.Ino && f.Fanotify.Marks[0].MntID == -1
		}},
		{"/", func(f *FDInfo) bool { return f.Flags&unix.O_PATH != 0 && f.Flags&unix.O_CLOEXEC != 0 }},
	} {
		var fd int
		if _, err := fmt.Sscan(strings.Fields(line)[i], &fd); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(fds, fd) {
			t.Errorf("descriptor %d is missing in %v", fd, fds)
		}
		link, err := p.FDLink(fd)
		// The link of a pidfd was anon_inode until Linux 6.9 gave it a filesystem.
		if err != nil || !strings.HasSuffix(link, test.link) && !strings.HasPrefix(link, "pidfd:") {
			t.Errorf("descriptor %d: %q, %v, want %q", fd, link, err, test.link)
		}
		info, err := p.FDInfo(fd)
		if err != nil || !test.check(info) {
			t.Errorf("descriptor %d (%s): %+v, %v", fd, link, info, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", p.Pid(), fd), &st); err != nil || info.Ino != st.Ino {
			t.Errorf("descriptor %d: inode %d, want %d, %v", fd, info.Ino, st.Ino, err)
		}
	}
	for name, read := range map[string]func() error{
		"link": func() error { _, err := p.FDLink(9999); return err },
		"info": func() error { _, err := p.FDInfo(9999); return err },
	} {
		if err := read(); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrGone) {
			t.Errorf("%s of a closed descriptor: %v", name, err)
		}
	}
}

// TestNoLeak counts this process' descriptors around everything that opens some.
func TestNoLeak(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	target, _ := target(t, "idle", 0)
	if _, err := zeroPFN(); err != nil {
		t.Fatal(err)
	}
	before := count()
	for range 3 {
		p, err := Open(target.Pid())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Status()
		_, _ = p.Stat()
		_, _ = p.Smaps(nil)
		_, _ = p.FDs(nil)
		_, _ = p.Children()
		_, _ = p.scanChildren()
		_, _ = p.Task(1 << 29).Status()
		_, _ = p.MountInfo()
		_, _ = p.NS()
		_, _ = SysVShm()
		_, _ = Pids(nil)
		if pm, err := p.Pagemap(); err == nil {
			_ = pm.Close()
		}
		if q, err := p.MapQuery(); err == nil {
			_ = q.Close()
		}
		_ = p.Task(target.Pid()).Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error("second close:", err)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors, then %d", before, after)
	}
}
