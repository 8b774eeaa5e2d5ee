// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/trapline/trapline/probes"
)

// Names that must be text wherever they are shown.
const (
	hostileScript = `</script><script>document.title="owned"</script>`
	hostileQuotes = `a"b'c\d&<!--` + "\u2028\x1b[31m"
	hostileRunes  = "日本語 λ 🦊 العربية"
)

// syntheticStages are the stages of a dump; those with tree are of the whole tree, the others of each process. inside is the stage that
// one runs in. The weight is its share of the work.
var syntheticStages = []struct {
	name, what, peer, inside string
	tree                     bool
	weight                   float64
	probes                   []int
}{
	{"freeze", "seize every thread of the tree", "collect_pstree", "", true, 25, []int{0, 1, 2}},
	{"collect", "maps, descriptors, timers, ids read from outside", "collect_mappings, collect_fds", "", false, 14, []int{3, 4, 5, 6, 7, 8}},
	{"infect", "scratch memory and blob into each process", "parasite_infect_seized", "", false, 4, []int{9, 10, 11, 1}},
	{"misc", "the batch of questions", "parasite_dump_misc_seized, parasite_dump_sigacts_seized, parasite_dump_itimers_seized, parasite_dump_posix_timers_seized, dump_task_signals", "", false, 5, []int{12, 13, 14, 15}},
	{"files", "descriptors and what is in them", "dump_task_files_seized", "", false, 9, []int{16, 17, 4, 5, 18}},
	{"pages", "memory contents", "parasite_dump_pages_seized", "", false, 28, []int{19, 20, 21, 22, 23, 24, 25, 26}},
	{"core", "registers and process state", "dump_task_core_all", "", false, 5, []int{27, 28, 29}},
	{"threads", "the same of each thread", "dump_task_threads", "core", false, 6, []int{27, 28, 30}},
	{"cure", "blob out, original context back", "compel_stop_daemon, compel_cure", "", false, 3, []int{11, 31, 1}},
	{"mm", "maps, auxv, exe link", "dump_task_mm", "", false, 4, []int{3, 7, 32, 33}},
	{"fs", "cwd, root, umask", "dump_task_fs", "", false, 1, []int{34, 35}},
	{"tree", "pstree, sessions, shared memory, namespaces, cgroups", "dump_pstree, cr_dump_shmem", "", true, 14, []int{36, 37}},
	{"finish", "inventory, statistics, thaw or kill", "cr_dump_finish", "", true, 30, []int{38, 39, 0}},
}

var syntheticProbes = []struct {
	label string
	ns    float64 // how long a call takes, more or less
	wait  bool
}{
	{"ptrace_request", 2300, false},
	{"wait_task_inactive", 11000, true},
	{"do_wait", 24000, true},
	{"show_map_vma", 1900, false},
	{"do_sys_openat2", 6100, false},
	{"vfs_read", 2600, false},
	{"proc_readfd_common", 7200, false},
	{"mem_cgroup_css_from_ino", 700, false},
	{"pagemap_read", 12400, false},
	{"do_mmap", 5200, false},
	{"process_vm_rw", 8800, false},
	{"ptrace_resume", 3100, false},
	{"do_sigaction", 420, false},
	{"do_timer_gettime", 510, false},
	{"sys_prctl", 330, false},
	{"kernel_wait4", 14000, true},
	{"pidfd_getfd", 2100, false},
	{"do_kcmp", 880, false},
	{"sock_diag_rcv_msg", 15800, false},
	{"vfs_writev", 26000, false},
	{"ext4_da_write_begin", 1400, false},
	{"copy_page_from_iter_atomic", 840, false},
	{"pagemap_scan", 13500, false},
	{"handle_mm_fault", 1250, false},
	{"clear_huge_page", 9800, false},
	{"io_schedule_timeout", 21000, true},
	{"balance_dirty_pages", 8100, true},
	{"regset_get", 1700, false},
	{"copy_regset_to_user", 2900, false},
	{"ptrace_peek_siginfo", 1100, false},
	{"do_sched_getattr", 600, false},
	{"do_munmap", 4800, false},
	{"vfs_readlink", 3300, false},
	{"d_path", 640, false},
	{"vfs_statx", 2200, false},
	{"kern_path", 1600, false},
	{"cgroup_path_ns", 2500, false},
	{"vfs_fsync_range", 52000, false},
	{hostileScript, 3000, false},
	{hostileRunes + " " + hostileQuotes, 1500, false},
}

// syntheticReport makes a dump of so many processes up, with about so many calls. Whoever calls it twice has the same report twice.
// scale stretches every time; the jitter is the same for the same seed.
func syntheticReport(processes, calls int, scale float64, seed uint64) *Report {
	g := &generator{
		rand: rand.New(rand.NewPCG(seed, 7)), scale: scale,
		report: &Report{
			Format: Format, What: "dump", Command: []string{"dump", "-t", "4242", "-D", "/var/lib/images/redis " + hostileScript, "--leave-running"},
			Began:  time.Date(2026, 11, 22, 3, 14, 15, 926_535_897, time.UTC),
			Kernel: "6.18.44-amd64", Arch: "amd64", CPUs: 2, Engine: "trapline",
			Tasks: map[uint32]Task{9000: {9000, "trapline"}},
			Lost:  Lost{Dropped: 17, Missed: 3},
			Warnings: []string{
				"copy_page_to_iter: can't be probed: it is in the kernel's list of functions that must not be (noinstr)",
				"stage map: 2 of 13 functions are not in the binary " + hostileQuotes,
			},
		},
		parts: map[partKey]*partSum{}, walls: map[wallKey]*wallSum{},
	}
	r := g.report
	for _, p := range syntheticProbes {
		r.Probes = append(r.Probes, Probe{Label: p.label, Mechanism: "fentry+fexit", Wait: p.wait, Bias: 38})
	}
	comms := []string{"redis-server", "nginx", "node", hostileScript, "worker \"q\"", hostileRunes}
	for i := range processes {
		pid := 4242 + 3*i
		r.Processes = append(r.Processes, Process{PID: pid, Comm: comms[i%len(comms)]})
		for tid := pid; tid < pid+1+i%3; tid++ {
			r.Tasks[uint32(tid)] = Task{uint32(pid), comms[i%len(comms)]}
		}
	}
	r.Processes = append([]Process{{PID: 0}}, r.Processes...)

	var expected float64 // calls of one unit of weight
	for _, s := range syntheticStages {
		n := float64(processes)
		if s.tree {
			n = 1
		}
		expected += n * s.weight
	}
	for i, s := range syntheticStages {
		if s.inside != "" {
			continue
		}
		pids := r.Processes[1:]
		if s.tree {
			pids = r.Processes[:1]
		}
		for _, p := range pids {
			g.stage(i, p.PID, float64(calls)/expected)
		}
	}
	g.finish()
	return r
}

type (
	partKey struct{ stage, pid, probe int }
	wallKey struct{ stage, pid int }
	partSum struct {
		Part
		squares float64
	}
	wallSum struct{ start, wall, unexplained time.Duration }

	generator struct {
		report *Report
		rand   *rand.Rand
		scale  float64
		now    time.Duration
		parts  map[partKey]*partSum
		walls  map[wallKey]*wallSum
	}
)

// idle passes time in no probed function.
func (g *generator) idle(w *wallSum, ns float64) {
	d := time.Duration(ns * g.scale * (0.5 + g.rand.Float64()))
	g.now += d
	w.wall += d
	w.unexplained += d
}

func (g *generator) stage(index, pid int, perWeight float64) {
	s := syntheticStages[index]
	start := g.now
	w := g.walls[wallKey{index, pid}]
	if w == nil {
		w = &wallSum{start: start}
		g.walls[wallKey{index, pid}] = w
	}
	span := len(g.report.Spans)
	g.report.Spans = append(g.report.Spans, Span{Stage: s.name, PID: pid, Start: start})
	g.idle(w, 20000)
	uneven := 1.0
	if pid > 0 && pid%4 == 1 {
		uneven = 2.2
	}
	for n := s.weight * perWeight * uneven; n > 0; n-- {
		tid := uint32(9000)
		if pid != 0 && (s.name == "pages" || s.name == "misc") {
			tid = uint32(pid) // the batch works in the target
		}
		n -= float64(g.call(index, pid, tid, s.probes[g.rand.IntN(len(s.probes))], 0))
		g.idle(w, 900)
	}
	for i, inner := range syntheticStages {
		if inner.inside == s.name {
			g.stage(i, pid, perWeight)
		}
	}
	g.idle(w, 6000)
	g.report.Spans[span].Dur = g.now - start
}

// call makes a call and those within it, and returns how many were within.
func (g *generator) call(stage, pid int, tid uint32, probe, depth int) (within int) {
	start, index := g.now, len(g.report.Calls)
	p := syntheticProbes[probe]
	g.report.Calls = append(g.report.Calls, Call{
		Start: start, TID: tid, Probe: uint16(probe), Stage: int16(stage), Depth: uint16(depth),
		Fail: g.rand.IntN(200) == 0,
	})
	self := time.Duration(p.ns * g.scale * math.Exp(0.8*g.rand.NormFloat64()))
	g.now += self / 2
	if s := syntheticStages[stage]; depth < 3 && p.ns > 1000 && !p.wait {
		for g.rand.IntN(3) == 0 && within < 6 {
			if next := s.probes[g.rand.IntN(len(s.probes))]; syntheticProbes[next].ns < p.ns {
				within += 1 + g.call(stage, pid, tid, next, depth+1)
			} else {
				break
			}
		}
	}
	g.now += self - self/2
	call := &g.report.Calls[index]
	call.Dur = g.now - start
	key := partKey{stage, pid, probe}
	sum := g.parts[key]
	if sum == nil {
		sum = &partSum{Part: Part{Probe: probe, Label: p.label}}
		g.parts[key] = sum
	}
	sum.add(self, call.Dur, call.Fail)
	g.walls[wallKey{stage, pid}].wall += self
	g.report.Probes[probe].Calls++
	return within
}

func (s *partSum) add(self, dur time.Duration, fail bool) {
	s.Self += self
	s.Total += dur
	s.Max = max(s.Max, dur)
	s.squares += float64(dur) * float64(dur)
	s.Calls++
	if fail {
		s.Errors++
	}
	for bucket := probes.Bucket(uint64(dur)); len(s.Hist) <= bucket; {
		s.Hist = append(s.Hist, 0)
	}
	s.Hist[probes.Bucket(uint64(dur))]++
}

// merge adds another process' part of the same stage and probe.
func (s *partSum) merge(o *partSum) {
	s.Self += o.Self
	s.Total += o.Total
	s.Max = max(s.Max, o.Max)
	s.squares += o.squares
	s.Calls += o.Calls
	s.Errors += o.Errors
	for len(s.Hist) < len(o.Hist) {
		s.Hist = append(s.Hist, 0)
	}
	for i, n := range o.Hist {
		s.Hist[i] += n
	}
}

// finish sums up.
func (g *generator) finish() {
	r := g.report
	r.Total = g.now
	r.Frozen = g.now * 9 / 10
	for i := range syntheticStages {
		all := map[int]*partSum{}
		sum := &wallSum{start: -1}
		n, slowest, slowestWall := 0, 0, time.Duration(0)
		for j := range r.Processes {
			p := &r.Processes[j]
			w := g.walls[wallKey{i, p.PID}]
			if w == nil {
				continue
			}
			own := map[int]*partSum{}
			for probe := range syntheticProbes {
				if part := g.parts[partKey{i, p.PID, probe}]; part != nil {
					own[probe] = part
					if all[probe] == nil {
						all[probe] = &partSum{Part: Part{Probe: probe, Label: part.Label}}
					}
					all[probe].merge(part)
				}
			}
			p.Stages = append(p.Stages, stageOf(i, own, w))
			n++
			if w.wall > slowestWall {
				slowest, slowestWall = p.PID, w.wall
			}
			if sum.start < 0 {
				sum.start = w.start
			}
			sum.wall += w.wall
			sum.unexplained += w.unexplained
		}
		s := stageOf(i, all, sum)
		s.N = n
		if n > 1 {
			s.Slowest, s.SlowestWall = slowest, slowestWall
		}
		r.Stages = append(r.Stages, s)
	}
}

func stageOf(index int, parts map[int]*partSum, w *wallSum) Stage {
	def := syntheticStages[index]
	s := Stage{Name: def.name, What: def.what, Peer: def.peer, Start: w.start, Wall: w.wall, Unexplained: w.unexplained, N: 1}
	for _, sum := range parts {
		p := sum.Part
		p.Share = float64(p.Self) / float64(w.wall)
		var stats probes.Stats
		stats.Count, stats.Max = p.Calls, uint64(p.Max)
		copy(stats.Hist[:], p.Hist)
		p.P50, p.P99 = time.Duration(stats.Percentile(50)), time.Duration(stats.Percentile(99))
		if n := float64(p.Calls); n > 1 {
			mean := float64(p.Total) / n
			p.StdDev = math.Sqrt(max(0, sum.squares-n*mean*mean) / (n - 1))
		}
		s.Parts = append(s.Parts, p)
	}
	slices.SortFunc(s.Parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Self, a.Self), cmp.Compare(a.Probe, b.Probe))
	})
	return s
}
