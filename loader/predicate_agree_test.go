// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loader_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/trapline/trapline/internal/vm"
	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/probes"
)

// TestSinglePredicates compares the two ways by which a predicate of one comparison is decided, with each other and with what the
// load does: a program for one probe has the predicate built in, one that serves several asks an interpreter.
func TestSinglePredicates(t *testing.T) {
	const most = 255 // sizes of writes, from 1 on
	predicates := map[string]func(size int) bool{
		"len=%s if len == 200":    func(size int) bool { return size == 200 },
		"len=%s if len != 200":    func(size int) bool { return size != 200 },
		"len=%s if len < 200":     func(size int) bool { return size < 200 },
		"len=%s if len <= 200":    func(size int) bool { return size <= 200 },
		"len=%s if len > 200":     func(size int) bool { return size > 200 },
		"len=%s if len >= 200":    func(size int) bool { return size >= 200 },
		"len=%s if len & 0x48":    func(size int) bool { return size&0x48 != 0 },
		"len=%s:s8 if len < -56":  func(size int) bool { return int8(size) < -56 },
		"len=%s:s8 if len >= -56": func(size int) bool { return int8(size) >= -56 },
		"len=%s:u8 if len > 4k":   func(int) bool { return false },
		"len=%s:u64 if len > 5":   func(size int) bool { return size > 5 },
	}
	h := startHits(t, nil)
	do(t, h, "sizes 1")
	check := func(t *testing.T, s *ebpf.Session, predicate string, r ebpf.Reading) {
		t.Helper()
		want := uint64(0)
		for size := 1; size <= most; size++ {
			if predicates[predicate](size) {
				want++
			}
		}
		if r.Stats.Count != want || r.Losses != (probes.Losses{}) {
			t.Errorf("%s, %s: %d hits, expected %d; losses %+v", r.Probe.Mechanism, r.Probe.Spec, r.Stats.Count, want, r.Losses)
		}
	}
	type place struct {
		only        ebpf.Mechanism
		name, field string
	}
	places := []place{{"", "tracepoint:syscalls:sys_enter_write", "$count"}, {"", "syscall:write%latency", "%a2"}}
	if _, yes := vm.InGuest(); yes {
		// What needs no guest is left out: placing a probe takes a while in one.
		places = []place{{ebpf.MechanismFentry, "vfs_write%latency", "%a2"}, {ebpf.MechanismKprobe, "vfs_write%entry", "%a2"}}
	}
	all := slices.Sorted(maps.Keys(predicates))
	for _, p := range places {
		expression := func(predicate string) string { return p.name + " " + fmt.Sprintf(predicate, p.field) }
		t.Run(fmt.Sprintf("%s %s", p.only, p.name), func(t *testing.T) {
			together := len(all)
			if p.only == "" {
				together = 4 // a system call takes no more of a kind
			}
			for some := range slices.Chunk(all, together) {
				var texts []string
				for _, predicate := range some {
					texts = append(texts, expression(predicate))
				}
				s := openOf(t, h, p.only, texts...)
				do(t, h, fmt.Sprintf("sizes %d", most))
				for i, r := range s.Read(nil) {
					check(t, s, some[i], r)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			alone := all
			if p.only != "" {
				alone = []string{"len=%s:s8 if len >= -56"}
			}
			for _, predicate := range alone {
				s := openOf(t, h, p.only, expression(predicate))
				do(t, h, fmt.Sprintf("sizes %d", most))
				check(t, s, predicate, s.Read(nil)[0])
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
