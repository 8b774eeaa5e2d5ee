// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const statusText = "Name:\ta\\nb\\\\c (x)\nUmask:\t0022\nState:\tT (stopped)\nTgid:\t12\nNgid:\t0\nPid:\t13\nPPid:\t1\nTracerPid:\t7\n" +
	"Uid:\t0\t1\t2\t4294967295\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t4 20 4294967294 \nNStgid:\t12\t1\nNSpid:\t13\t2\nNSpgid:\t12\t0\nNSsid:\t12\t0\n" +
	"Kthread:\t0\nVmPeak:\t    3060 kB\nVmRSS:\t    1620 kB\nCoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\nThreads:\t2\n" +
	"SigQ:\t3/96365\nSigPnd:\t0000000000000001\nShdPnd:\t8000000000000000\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000000004\nSigCgt:\t0000000000000008\n" +
	"CapInh:\t0000000000000001\nCapPrm:\t000001fffeffffff\nCapEff:\t0000000000000003\nCapBnd:\t0000000000000004\nCapAmb:\t0000000000000005\n" +
	"NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\nSpeculation_Store_Bypass:\tvulnerable\nCpus_allowed:\tf,00000001,80000003\nCpus_allowed_list:\t0-1\n" +
	"voluntary_ctxt_switches:\t11\nnonvoluntary_ctxt_switches:\t12\nx86_Thread_features:\tshstk wrss \nA line without a colon\nNew_in_7: x\n"

func TestStatus(t *testing.T) {
	var s Status
	if err := s.parse([]byte(statusText)); err != nil {
		t.Fatal(err)
	}
	want := Status{
		Name: "a\nb\\c (x)", State: 'T', Umask: 0o22, HasUmask: true, Tgid: 12, Pid: 13, PPid: 1, TracerPid: 7,
		Uid: [4]uint32{0, 1, 2, 1<<32 - 1}, Gid: [4]uint32{5, 6, 7, 8}, FDSize: 64, Groups: []uint32{4, 20, 1<<32 - 2},
		NStgid: []int{12, 1}, NSpid: []int{13, 2}, NSpgid: []int{12, 0}, NSsid: []int{12, 0},
		VmPeak: 3060 << 10, VmRSS: 1620 << 10, HasMM: true, THPEnabled: true, UntagMask: 1<<64 - 1, Threads: 2,
		SigQ: 3, SigQMax: 96365, SigPnd: 1, ShdPnd: 1 << 63, SigBlk: 2, SigIgn: 4, SigCgt: 8,
		CapInh: 1, CapPrm: 0x1fffeffffff, CapEff: 3, CapBnd: 4, CapAmb: 5, NoNewPrivs: true, Seccomp: 2, SeccompFilters: 3,
		X86ShadowStack: true, CPUsAllowed: []uint64{0x180000003, 0xf}, VoluntarySwitches: 11, InvoluntarySwitches: 12,
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got\n%+v, want\n%+v", s, want)
	}
	// Reading another status into the same value leaves nothing behind.
	if err := s.parse([]byte("Name:\tx\nPid:\t1\n")); err != nil || s.Name != "x" || len(s.Groups) != 0 || s.HasMM || s.HasUmask {
		t.Errorf("second: %+v, %v", s, err)
	}
	for _, text := range []string{
		"", "Name:\tx\n", "Pid:\t\n", "Pid:\tx\n", "Pid:\t99999999999\n", "Pid:\t1\nUid:\t1\t2\t3\n", "Pid:\t1\nSigBlk:\tg\n",
		"Pid:\t1\nVmRSS:\t12 MB\n", "Pid:\t1\nVmRSS:\t18446744073709551615 kB\n", "Pid:\t1\nSigQ:\t1\n", "Pid:\t1\nState:\n", "Pid:\t1\nCpus_allowed:\tfffffffff\n",
	} {
		if err := s.parse([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: error %v, want ErrFormat", text, err)
		}
	}
}

const statText = " R 6798 -1 3885 -2 -1 4194304 100 1 2 3 4 5 -6 -7 20 -5 3 0 97523 3133440 362 18446744073709551615 94287755636736 94287755656617 " +
	"140736907208992 1 2 0 0 0 0 0 0 0 17 1 99 2 8 9 -10 94287755672624 94287755674240 94288454889472 140736907213505 140736907213525 140736907213526 140736907214827 256\n"

func TestStat(t *testing.T) {
	for _, comm := range []string{"cat", "", "a b", "x) R 1 (y", ")))", "a\nb", "((", "\xff\x00"} {
		var s Stat
		if err := s.parse([]byte("6809 (" + comm + ")" + statText)); err != nil {
			t.Errorf("%q: %v", comm, err)
			continue
		}
		minusTwo := int32(-2)
		want := Stat{
			Pid: 6809, Comm: comm, State: 'R', PPid: 6798, Pgrp: -1, Session: 3885, TTYNr: uint32(minusTwo), Tpgid: -1, Flags: 4194304,
			MinFlt: 100, CMinFlt: 1, MajFlt: 2, CMajFlt: 3, UTime: 4, STime: 5, CUTime: -6, CSTime: -7, Priority: 20, Nice: -5,
			NumThreads: 3, StartTime: 97523, VSize: 3133440, RSS: 362, RSSLim: 1<<64 - 1, StartCode: 94287755636736,
			EndCode: 94287755656617, StartStack: 140736907208992, KstkESP: 1, KstkEIP: 2, ExitSignal: 17, Processor: 1,
			RTPriority: 99, Policy: 2, BlkioTicks: 8, GuestTime: 9, CGuestTime: -10, StartData: 94287755672624,
			EndData: 94287755674240, StartBrk: 94288454889472, ArgStart: 140736907213505, ArgEnd: 140736907213525,
			EnvStart: 140736907213526, EnvEnd: 140736907214827, ExitCode: 256,
		}
		if s != want {
			t.Errorf("%q: got\n%+v, want\n%+v", comm, s, want)
		}
	}
	for _, text := range []string{"", "1", "1 (x", "1 x) R 1", "(x) R 1", "1 (x)", "1 (x) R 1 2 3\n", "1 (x) RS" + statText[2:], "x (x)" + statText, "1 (x) R y" + statText[4:]} {
		var s Stat
		if err := s.parse([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: error %v, want ErrFormat", text, err)
		}
	}
}

// parseMapsText is what reading a file with these contents gives.
func parseMapsText(text []byte) ([]VMA, error) {
	var m mapsParser
	used, err := m.lines(text)
	if err == nil && used < len(text) {
		err = m.line(text[used:])
	}
	return m.vmas, err
}

func TestMapsText(t *testing.T) {
	const r, w, x = unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC
	dev := unix.Mkdev
	for _, test := range []struct {
		line string
		want VMA
	}{
		{"5637b76c4000-5637b76c7000 r--p 00000000 fe:00 247741                     /usr/bin/sed", VMA{Start: 0x5637b76c4000, End: 0x5637b76c7000, Prot: r, Dev: dev(0xfe, 0), Inode: 247741, Kind: KindFile, Path: "/usr/bin/sed"}},
		{"1000-2000 rwxs 1ffffffff000 103:fffff 18446744073709551615 /a b (deleted)", VMA{Start: 0x1000, End: 0x2000, Prot: r | w | x, Shared: true, Offset: 0x1ffffffff000, Dev: dev(0x103, 0xfffff), Inode: 1<<64 - 1, Kind: KindFile, Path: "/a b", Deleted: true}},
		{`1000-2000 ---p 0 00:01 5 /new\012line\134x`, VMA{Start: 0x1000, End: 0x2000, Dev: dev(0, 1), Inode: 5, Kind: KindFile, Path: "/new\nline\\134x"}},
		{"1000-2000 rw-p 00000000 00:00 0 ", VMA{Start: 0x1000, End: 0x2000, Prot: r | w}},
		{"1000-2000 rw-p 00000000 00:00 0", VMA{Start: 0x1000, End: 0x2000, Prot: r | w}},
		{"1000-2000 rw-p 0 00:00 0      [heap]", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Kind: KindHeap}},
		{"1000-2000 rw-p 0 00:00 0      [stack]", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Kind: KindStack}},
		{"1000-2000 r-xp 0 00:00 0      [vdso]", VMA{Start: 0x1000, End: 0x2000, Prot: r | x, Kind: KindVDSO}},
		{"1000-2000 r--p 0 00:00 0      [vvar]", VMA{Start: 0x1000, End: 0x2000, Prot: r, Kind: KindVVar}},
		{"1000-2000 r--p 0 00:00 0      [vvar_vclock]", VMA{Start: 0x1000, End: 0x2000, Prot: r, Kind: KindVVarVClock}},
		{"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]", VMA{Start: 0xffffffffff600000, End: 0xffffffffff601000, Prot: x, Kind: KindVSyscall}},
		{"1000-2000 --xp 0 00:00 0      [uprobes]", VMA{Start: 0x1000, End: 0x2000, Prot: x, Kind: KindUprobes}},
		{"1000-2000 r--p 0 00:00 0      [new thing]", VMA{Start: 0x1000, End: 0x2000, Prot: r, Kind: KindSpecial, Path: "[new thing]"}},
		{"1000-2000 r--p 0 00:00 0      [anon: my  name ]", VMA{Start: 0x1000, End: 0x2000, Prot: r, Kind: KindAnonNamed, Name: " my  name "}},
		{"1000-2000 r--p 0 00:00 0      [anon:]", VMA{Start: 0x1000, End: 0x2000, Prot: r, Kind: KindAnonNamed}},
		{"1000-2000 rw-s 0 00:01 42     [anon_shmem:x]", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0, 1), Inode: 42, Kind: KindAnonShmemNamed, Name: "x"}},
		{"1000-2000 rw-s 0 00:01 42     /dev/zero (deleted)", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0, 1), Inode: 42, Kind: KindAnonShmem, Path: "/dev/zero", Deleted: true}},
		{"1000-2000 rw-p 0 00:06 5      /dev/zero", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Dev: dev(0, 6), Inode: 5, Kind: KindFile, Path: "/dev/zero"}},
		{"1000-2000 rw-s 0 00:01 42     /SYSV0000abcd (deleted)", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0, 1), Inode: 42, Kind: KindSysV, Path: "/SYSV0000abcd", Deleted: true}},
		{"1000-2000 rw-s 0 fe:01 42     /SYSV0000abcd (deleted)", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0xfe, 1), Inode: 42, Kind: KindFile, Path: "/SYSV0000abcd", Deleted: true}},
		{"1000-2000 rw-s 0 00:01 42     /SYSV0000abcx (deleted)", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0, 1), Inode: 42, Kind: KindFile, Path: "/SYSV0000abcx", Deleted: true}},
		{"1000-2000 rw-s 0 00:01 42     /memfd:a (deleted) (deleted)", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0, 1), Inode: 42, Kind: KindMemfd, Path: "/memfd:a (deleted)", Name: "a (deleted)", Deleted: true}},
		{"1000-2000 rw-p 0 00:0f 42     /anon_hugepage (deleted)", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Dev: dev(0, 15), Inode: 42, Kind: KindAnonHuge, Path: "/anon_hugepage", Deleted: true}},
		{"1000-2000 rw-s 0 00:0f 42     /[aio] (deleted)", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0, 15), Inode: 42, Kind: KindAIO, Path: "/[aio]", Deleted: true}},
		{"1000-2000 rw-s 0 00:0f 42     anon_inode:[perf_event]", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0, 15), Inode: 42, Kind: KindAnonInode, Path: "anon_inode:[perf_event]"}},
		{"1000-2000 rw-s 0 00:08 42     socket:[42]", VMA{Start: 0x1000, End: 0x2000, Prot: r | w, Shared: true, Dev: dev(0, 8), Inode: 42, Kind: KindSocket, Path: "socket:[42]"}},
	} {
		for _, text := range []string{test.line + "\n", test.line} {
			got, err := parseMapsText([]byte(text))
			if err != nil || len(got) != 1 || got[0] != test.want {
				t.Errorf("%q:\ngot  %+v, %v\nwant %+v", text, got, err, test.want)
			}
		}
	}
	for _, line := range []string{
		"\n", "x", "1000", "1000-", "1000-2000", "1000-2000 ", "1000-2000 r--p", "1000-2000 r--p ", "1000-2000 r--p 0", "1000-2000 r--p 0 ",
		"1000-2000 r--p 0 0", "1000-2000 r--p 0 0:", "1000-2000 r--p 0 0:0", "1000-2000 r--p 0 0:0 ", "1000-2000 r--p 0 0:0 x", "2000-1000 r--p 0 0:0 0",
		"1000-1000 r--p 0 0:0 0", "10000000000000000-20000000000000000 r--p 0 0:0 0", "1000-2000 r--p 0 100000000:0 0", "1000-2000 r--px 0 0:0 0",
		"Rss: 12 kB\n", "1000-2000 r--p 0 0:0 0\nRss: 12 MB", "1000-2000 r--p 0 0:0 0\nRss: 18446744073709551615 kB", "1000-2000 r--p 0 0:0 0\nProtectionKey: x",
		"1000-3000 r--p 0 0:0 0\n2000-4000 r--p 0 0:0 0", "1000-2000 r--p 0 0:0 0\n\n",
	} {
		if got, err := parseMapsText([]byte(line)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v, error %v, want ErrFormat", line, got, err)
		}
	}
}

const smapsText = `7f0000000000-7f0000200000 rw-p 00000000 00:00 0 
Size:               2048 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                1024 kB
Pss:                1020 kB
Anonymous:          1024 kB
AnonHugePages:      2048 kB
ShmemPmdMapped:        1 kB
Shared_Hugetlb:        2 kB
Private_Hugetlb:       4 kB
Swap:                 12 kB
SwapPss:              12 kB
Locked:                8 kB
THPeligible:           1
ProtectionKey:         3
VmFlags: rd wr mr mw me ac sd hg zz q  
7f0000200000-7f0000300000 rw-p 00000000 00:00 0 
Size:               1024 kB
KernelPageSize:     2048 kB
VmFlags: rd lo gu 
`

func TestSmapsText(t *testing.T) {
	got, err := parseMapsText([]byte(smapsText))
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	want := VMA{
		Start: 0x7f0000000000, End: 0x7f0000200000, Prot: 3, PageSize: 4096, Rss: 1 << 20, Anonymous: 1 << 20, AnonHuge: 2 << 20,
		ShmemPMD: 1024, Hugetlb: 6 << 10, Swap: 12 << 10, Locked: 8 << 10, ProtectionKey: 3,
		Flags: VMRead | VMWrite | VMMayRead | VMMayWrite | VMMayExec | VMAccount | VMSoftDirty | VMHugePage | VMOther,
	}
	if got[0] != want {
		t.Errorf("got\n%+v, want\n%+v", got[0], want)
	}
	if got[1].Flags != VMRead|VMLocked|VMMaybeGuard || got[1].PageSize != 2<<20 {
		t.Errorf("second: %+v", got[1])
	}
	if s := got[0].Flags.String(); s != "rd wr mr mw me ac sd hg ??" {
		t.Errorf("flags %q", s)
	}
	if (VMOther-1).String() == "" || len(vmCodes) != 2*38 || VMOther != 1<<38 {
		t.Errorf("%d codes for %d flags", len(vmCodes)/2, 38)
	}
	// One string for every mapping of the same file.
	long := strings.Repeat("1000-2000 r--p 0 00:05 7 /lib/x\n", 1) + "3000-4000 r--p 0 00:05 7 /lib/x\n5000-6000 r--p 0 00:05 8 /lib/y\n7000-8000 r--p 0 00:05 7 /lib/x\n"
	if got, err = parseMapsText([]byte(long)); err != nil || got[3].Path != "/lib/x" || got[2].Path != "/lib/y" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFDInfoText(t *testing.T) {
	sigmask, tty := uint64(0x6), 3
	common := "pos:\t12\nflags:\t02100002\nmnt_id:\t9\nino:\t63107\n"
	for _, test := range []struct {
		text string
		want FDInfo
	}{
		{common, FDInfo{}},
		{
			common + "lock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF\n",
			FDInfo{Locks: []string{"1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF"}},
		},
		{
			common + "eventfd-count:               5a\neventfd-id: 7\neventfd-semaphore: 1\n",
			FDInfo{EventFD: &EventFD{Count: 0x5a, ID: 7, Semaphore: true}},
		},
		{
			common + "eventfd-count: fffffffffffffffe\n",
			FDInfo{EventFD: &EventFD{Count: 1<<64 - 2}},
		},
		{
			common + "tfd:        5 events:       1d data: ffffffff00000005  pos:0 ino:61af sdev:7\ntfd:       12 events: 80000019 data:               2a  pos:-1 ino:1 sdev:800013\n",
			FDInfo{Epoll: []EpollTarget{
				{FD: 5, Events: 0x1d, Data: 0xffffffff00000005, Ino: 0x61af, Dev: unix.Mkdev(0, 7)},
				{FD: 12, Events: 0x80000019, Data: 0x2a, Pos: -1, Ino: 1, Dev: unix.Mkdev(8, 0x13)},
			}},
		},
		{common + "sigmask:\t0000000000000006\n", FDInfo{SigMask: &sigmask}},
		{
			common + "clockid: 1\nticks: 2\nsettime flags: 03\nit_value: (9, 999999999)\nit_interval: (1, 5)\n",
			FDInfo{TimerFD: &TimerFD{ClockID: 1, Ticks: 2, SetFlags: 3, Value: 9999999999, Interval: 1000000005}},
		},
		{
			common + "inotify wd:3 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:7e9e0000640d1b6d\ninotify wd:a ino:1 sdev:1 mask:2 ignored_mask:3 \n",
			FDInfo{Inotify: []InotifyWatch{
				{WD: 3, Ino: 0x9e7e, Dev: unix.Mkdev(8, 0x13), Mask: 0x800afce, HandleType: 1, Handle: []byte{0x7e, 0x9e, 0, 0, 0x64, 0x0d, 0x1b, 0x6d}},
				{WD: 10, Ino: 1, Dev: unix.Mkdev(0, 1), Mask: 2, Ignored: 3},
			}},
		},
		{
			common + "fanotify flags:10 event-flags:8000\nfanotify mnt_id:12 mflags:40 mask:38 ignored_mask:40000003\nfanotify ino:4f969 sdev:800013 mflags:0 mask:3b ignored_mask:40000000 fhandle-bytes:8 fhandle-type:1 f_handle:69f90400c275b5b4\n",
			FDInfo{Fanotify: &Fanotify{Flags: 0x10, EventFlags: 0x8000, Marks: []FanotifyMark{
				{MntID: 0x12, MFlags: 0x40, Mask: 0x38, Ignored: 0x40000003},
				{MntID: -1, Ino: 0x4f969, Dev: unix.Mkdev(8, 0x13), Mask: 0x3b, Ignored: 0x40000000, HandleType: 1, Handle: []byte{0x69, 0xf9, 4, 0, 0xc2, 0x75, 0xb5, 0xb4}},
			}}},
		},
		{common + "Pid:\t81\nNSpid:\t81\t2\n", FDInfo{PidFD: &PidFD{Pid: 81, NSpid: []int{81, 2}}}},
		{common + "Pid:\t-1\nNSpid:\t-1\n", FDInfo{PidFD: &PidFD{Pid: -1, NSpid: []int{-1}}}},
		{common + "tty-index:\t3\n", FDInfo{TTYIndex: &tty}},
		{common + "SqMask:\t0x7\nSqHead:\t0\nword\n", FDInfo{IOUring: true, Other: []string{"SqMask:\t0x7", "SqHead:\t0", "word"}}},
		{common + "drm-driver:\tamdgpu\n\n", FDInfo{Other: []string{"drm-driver:\tamdgpu"}}},
	} {
		test.want.Pos, test.want.Flags, test.want.MntID, test.want.Ino = 12, 0o2100002, 9, 63107
		var got FDInfo
		if err := got.parse([]byte(test.text)); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q:\ngot  %+v, %v\nwant %+v", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{
		"", "pos:\t0\n", "flags:\t0\n", "pos:\tx\nflags:\t0\n", "pos:\t0\nflags:\t9\n", common + "eventfd-count: x\n", common + "it_value: (1, 1000000000)\n",
		common + "it_value: (9223372037, 0)\n", common + "it_value: 1, 2\n", common + "it_value: (1 2)\n", common + "tfd: x\n", common + "tfd: 1 events\n",
		common + "inotify wd:3 f_handle:abc\n", common + "fanotify flags:x\n", common + "sigmask:\t\n",
	} {
		var got FDInfo
		if err := got.parse([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: error %v, want ErrFormat", text, err)
		}
	}
}

func TestTimersText(t *testing.T) {
	got, err := parseTimers([]byte("ID: 1\nsignal: 60/00007fff86e452a8\nnotify: signal/pid.2634\nClockID: 0\nID: 0\nsignal: 14/(null)\nnotify: thread/tid.9\nClockID: -6\nID: 2\nsignal: 0/0\nnotify: none/tid.0\nClockID: 1\nNew: x\n"))
	want := []Timer{
		{ID: 1, Signal: 60, Value: 0x7fff86e452a8, Target: 2634},
		{ID: 0, Signal: 14, Notify: NotifyThread, ToThread: true, Target: 9, ClockID: -6},
		{ID: 2, Notify: NotifyNone, ToThread: true, ClockID: 1},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"x\n", "ID: x\n", "signal: 1/2\n", "ID: 1\nsignal: 1\n", "ID: 1\nsignal: 1/x\n", "ID: 1\nnotify: signal\n", "ID: 1\nnotify: odd/pid.1\n", "ID: 1\nnotify: signal/gid.1\n", "ID: 1\nnotify: signal/pid.\n", "ID: 1\nClockID:\n"} {
		if got, err := parseTimers([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v, error %v, want ErrFormat", text, got, err)
		}
	}
}

func TestMountsText(t *testing.T) {
	got, err := parseMountInfo([]byte("36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n1 0 0:2 / / rw - rootfs none rw\n2 1 0:3 / /x rw - tmpfs  rw,a b\n3 1 0:4 / /y rw - proc p \n"))
	want := []Mount{
		{36, 35, unix.Mkdev(98, 0), "/mnt1", `/mnt 2\x`, "rw,noatime", []string{"master:1", "shared:7"}, "ext3", "/dev/root", "rw,errors=continue"},
		{1, 0, unix.Mkdev(0, 2), "/", "/", "rw", nil, "rootfs", "none", "rw"},
		{2, 1, unix.Mkdev(0, 3), "/", "/x", "rw", nil, "tmpfs", "", "rw,a b"},
		{3, 1, unix.Mkdev(0, 4), "/", "/y", "rw", nil, "proc", "p", ""},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"x\n", "1 x\n", "1 1 8\n", "1 1 8:x / / rw - a b c\n", "1 1 8:1 / / rw\n", "1 1 8:1 / / rw -\n"} {
		if got, err := parseMountInfo([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v, error %v, want ErrFormat", text, got, err)
		}
	}

	groups, err := parseCgroup([]byte("12:cpu,cpuacct:/a:b\n1:name=systemd:/\n0::/x (deleted)\n"))
	wantGroups := []Cgroup{{12, []string{"cpu", "cpuacct"}, "/a:b"}, {1, []string{"name=systemd"}, "/"}, {0, nil, "/x (deleted)"}}
	if err != nil || !reflect.DeepEqual(groups, wantGroups) {
		t.Errorf("got %+v, %v, want %+v", groups, err, wantGroups)
	}
	for _, text := range []string{"x\n", "1:cpu\n", ":a:b\n"} {
		if got, err := parseCgroup([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v, error %v, want ErrFormat", text, got, err)
		}
	}
}

func TestSmallTexts(t *testing.T) {
	for text, want := range map[string]Syscall{
		"running\n":          {Running: true},
		"-1 0x7ffe 0x7f2e\n": {Nr: -1, SP: 0x7ffe, PC: 0x7f2e},
		"0 0x3 0x7fa0abf0a000 0x20000 0x22 0xffffffff 0x0 0x7ffc04e93068 0x7fa0ac0862ad\n": {Nr: 0, Args: [6]uint64{3, 0x7fa0abf0a000, 0x20000, 0x22, 0xffffffff, 0}, SP: 0x7ffc04e93068, PC: 0x7fa0ac0862ad},
	} {
		var got Syscall
		if err := got.parse([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "0 1 2", "-1 x y", "-1 0x1"} {
		var got Syscall
		if err := got.parse([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: error %v, want ErrFormat", text, err)
		}
	}
	segments, err := parseSysVShm([]byte("       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n" +
		"-559038737          1   1640  18446744073709551615    55    56      2     1     2     3     4 1700000000          0 1700000001                  4096                     0\n"))
	want := []ShmSegment{{Key: -559038737, ID: 1, Perms: 0o1640, Size: 1<<64 - 1, CPid: 55, LPid: 56, NAttach: 2, UID: 1, GID: 2, CUID: 3, CGID: 4, ATime: 1700000000, CTime: 1700000001, Rss: 4096}}
	if err != nil || !reflect.DeepEqual(segments, want) {
		t.Errorf("got %+v, %v, want %+v", segments, err, want)
	}
	if _, err := parseSysVShm([]byte("key\n1 2 3\n")); !errors.Is(err, ErrFormat) {
		t.Errorf("short line: %v", err)
	}
	var limits Limits
	if err := limits.parse([]byte("Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            x seconds\n")); !errors.Is(err, ErrFormat) {
		t.Errorf("limits: %v", err)
	}
	for in, want := range map[string]string{`a\040b`: "a b", `a\`: `a\`, `\04`: `\04`, `\048`: `\048`, `\777`: `\777`, `\\`: `\\`, `\134134`: `\134`} {
		if got := unescape([]byte(in)); got != want {
			t.Errorf("unescape %q: %q, want %q", in, got, want)
		}
	}
}
