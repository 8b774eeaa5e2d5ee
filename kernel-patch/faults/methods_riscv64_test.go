// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// sensitive are functions that run with locks held, while tasks are switched, in faults and interrupts: where a mistake of the probe is one
// of the kernel. Not lockdep's lock_acquire and lock_release: with events that read what is not there on each of them a tick takes longer
// than until the next one.
var sensitive = []string{
	"vfs_write", "vfs_read", "ksys_write", "do_sys_openat2", "fput", "path_openat", "d_lookup", "handle_mm_fault", "__handle_mm_fault", "do_page_fault",
	"handle_page_fault", "lock_mm_and_find_vma", "_raw_spin_lock", "_raw_spin_unlock", "_raw_spin_lock_irqsave", "_raw_spin_unlock_irqrestore",
	"mutex_lock", "mutex_unlock", "down_read", "up_read", "rwsem_down_read_slowpath", "__schedule", "schedule",
	"try_to_wake_up", "wake_up_new_task", "finish_task_switch.isra.0", "update_curr", "enqueue_task_fair", "dequeue_task_fair", "pick_next_task_fair",
	"set_next_entity", "scheduler_tick", "sched_tick", "hrtimer_interrupt", "hrtimer_start_range_ns", "tick_sched_timer", "tick_nohz_handler",
	"ktime_get", "run_timer_softirq", "__do_softirq", "handle_softirqs", "irq_enter_rcu", "irq_exit_rcu", "rcu_core", "call_rcu", "kfree", "__kmalloc_noprof",
	"kmem_cache_alloc_noprof", "kmem_cache_free", "get_page_from_freelist", "free_unref_page", "copy_process", "do_exit", "wait_consider_task",
	"get_signal", "do_send_sig_info", "tcp_sendmsg", "tcp_v4_rcv", "udp_sendmsg", "unix_stream_sendmsg", "net_rx_action", "ip_rcv", "loopback_xmit",
}

// TestMethods keeps probes of every kind and method on such functions while the load runs, with values and events. In a kernel that looks
// for mistakes of locks and memory there are none. Where no memory is read every hit counts; where what is read is not there, the
// kernel handles a fault inside of the hit, and the hits of that are missed.
func TestMethods(t *testing.T) {
	watchKernel(t)
	k := text(t)
	random := rand.New(rand.NewPCG(seed(t), 0))
	startLoad(t)
	rounds := 3
	if stress(t) > 0 {
		rounds = 20
	}
	w, err := newWorker(t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rounds {
		methodsRound(t, k, random, w, i > 0)
	}
}

func methodsRound(t *testing.T, k *kernelText, random *rand.Rand, w *worker, reads bool) {
	fetches := []abi.Fetch{
		{Base: 0, Index: 10, Size: 8},
		{Base: 3, Format: 2, Size: 1, String: 1},
	}
	if reads {
		// The string is no user's address as a rule, which must do no harm either.
		fetches = append(fetches, abi.Fetch{Base: 0, Index: 11, Size: 8, Derefs: 1},
			abi.Fetch{Base: 0, Index: 11, Derefs: 1, User: 1, Format: 3, Size: 1})
	}
	var group []probe
	var names []string
	methods := map[uint32]int{}
	for _, name := range sensitive {
		for _, f := range k.symbols.Lookup(name) {
			for _, flags := range []uint64{0, abi.FlagNoJump} {
				attr := abi.Attr{Kind: abi.KindEntry + uint32(random.IntN(3)), Flags: flags, GroupFD: -1, Address: f.Address}
				var with []abi.Fetch
				if random.IntN(2) == 0 {
					attr.Flags |= abi.FlagEvents | abi.FlagRegs
					attr.StackWords = 8
					with = fetches
				}
				if len(group) > 0 {
					attr.GroupFD = int32(group[0].fd)
				}
				p, err := openProbe(attr, with)
				if why, ok := errors.AsType[*refusal](err); ok && why.documented() {
					continue
				} else if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				info, err := p.info()
				if err != nil {
					t.Error(err)
				}
				methods[info.Method]++
				group = append(group, p)
				names = append(names, name)
			}
		}
	}
	if len(group) == 0 {
		t.Fatal("no probe could be placed")
	}
	size := unix.Getpagesize()
	ring, err := unix.Mmap(group[0].fd, int64(size), 17*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatalf("map the ring: %v", err)
	}
	err = group[0].control(abi.IocEnable, abi.WholeGroup)
	err = errors.Join(err, w.round(), group[0].control(abi.IocDisable, abi.WholeGroup))
	hits, missed := uint64(0), uint64(0)
	for i, p := range group {
		stats, e := p.stats()
		err = errors.Join(err, e, p.close())
		if stats.Missed > 0 && !reads {
			t.Errorf("%s: %d hits of %d missed", names[i], stats.Missed, stats.Missed+max(stats.Count, stats.Started))
		}
		hits += stats.Count
		missed += stats.Missed
	}
	if err := errors.Join(err, unix.Munmap(ring)); err != nil {
		t.Error(err)
	}
	t.Logf("%d probes (%d jump, %d slot, %d simulated): %d hits, %d missed", len(group), methods[abi.MethodJump], methods[abi.MethodSlot],
		methods[abi.MethodSimulate], hits, missed)
}
