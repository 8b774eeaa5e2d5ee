// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"testing"
)

// fuzzText runs parse on any text: it must not panic, and what it refuses it refuses with ErrFormat.
func fuzzText(f *testing.F, parse func(t *testing.T, text []byte) error, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
		f.Add([]byte(seed[:len(seed)/2]))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := parse(t, text); err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("error %v is not ErrFormat", err)
		}
	})
}

func FuzzStatus(f *testing.F) {
	fuzzText(f, func(_ *testing.T, text []byte) error { return new(Status).parse(text) }, statusText, "Pid:\t1\nCpus_allowed:\t1,,2\n")
}

func FuzzStat(f *testing.F) {
	fuzzText(f, func(_ *testing.T, text []byte) error { return new(Stat).parse(text) }, "6809 (cat)"+statText, "1 () ) (x)"+statText)
}

func FuzzMaps(f *testing.F) {
	fuzzText(f, func(t *testing.T, text []byte) error {
		vmas, err := parseMapsText(text)
		for i := range vmas {
			if vmas[i].End <= vmas[i].Start || i > 0 && vmas[i].Start < vmas[i-1].End {
				t.Errorf("mappings out of order: %+v", vmas)
			}
		}
		return err
	}, smapsText, `1000-2000 rw-s 0 00:01 42     /memfd:a\012 (deleted)`+"\n", "1000-2000 r--p 0 00:00 0 [anon:x]\n3000-4000 r--p 0 00:00 0 [anon_shmem:]")
}

func FuzzFDInfo(f *testing.F) {
	const common = "pos:\t12\nflags:\t02100002\nmnt_id:\t9\nino:\t63107\n"
	fuzzText(f, func(_ *testing.T, text []byte) error { return new(FDInfo).parse(text) },
		common+"eventfd-count: 5a\neventfd-id: 7\n",
		common+"tfd:        5 events:       1d data: ffffffff00000005  pos:0 ino:61af sdev:7\n",
		common+"clockid: 1\nticks: 2\nsettime flags: 03\nit_value: (9, 999999999)\nit_interval: (1, 5)\n",
		common+"inotify wd:3 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:7e9e0000640d1b6d\n",
		common+"fanotify flags:10 event-flags:8000\nfanotify mnt_id:12 mflags:40 mask:38 ignored_mask:40000003\n",
		common+"Pid:\t81\nNSpid:\t81\t2\nlock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF\ntty-index:\t3\nsigmask:\t06\n")
}

// FuzzLists covers the files that are lists of lines.
func FuzzLists(f *testing.F) {
	fuzzText(f, func(t *testing.T, text []byte) error {
		_, mounts := parseMountInfo(text)
		_, cgroup := parseCgroup(text)
		_, timers := parseTimers(text)
		_, shm := parseSysVShm(text)
		for _, err := range []error{mounts, cgroup, timers, shm, new(Limits).parse(text), new(Syscall).parse(text)} {
			if err != nil && !errors.Is(err, ErrFormat) {
				return err
			}
		}
		if n := len(direntNumbers(text, nil)); n > len(text)/19 {
			t.Errorf("%d directory entries in %d bytes", n, len(text))
		}
		if got := unescape(text); len(got) > len(text) {
			t.Errorf("unescape %q gives %q", text, got)
		}
		return nil
	},
		"36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n",
		"12:cpu,cpuacct:/a:b\n1:name=systemd:/\n0::/x (deleted)\n",
		"ID: 1\nsignal: 60/00007fff86e452a8\nnotify: signal/pid.2634\nClockID: 0\n",
		"key\n-559038737 1 1640 18446744073709551615 55 56 2 1 2 3 4 1700000000 0 1700000001 4096 0\n",
		"Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            7                    seconds\n",
		"0 0x3 0x7fa0abf0a000 0x20000 0x22 0xffffffff 0x0 0x7ffc04e93068 0x7fa0ac0862ad\n",
		"\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x18\x00\x0412\x00\x00\x00")
}
