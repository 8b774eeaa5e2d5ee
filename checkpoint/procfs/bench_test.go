// SPDX-License-Identifier: Apache-2.0

package procfs

import "testing"

// 20,000 mappings, each of one page with contents.
func BenchmarkMaps20000(b *testing.B) {
	p, _ := target(b, "maps", 20000)
	var vmas []VMA
	var err error
	b.Run("maps", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if vmas, err = p.Maps(vmas[:0]); err != nil || len(vmas) < 20000 {
				b.Fatal(len(vmas), err)
			}
		}
	})
	b.Run("smaps", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if vmas, err = p.Smaps(vmas[:0]); err != nil || len(vmas) < 20000 {
				b.Fatal(len(vmas), err)
			}
		}
	})
	b.Run("query", func(b *testing.B) {
		q, err := p.MapQuery()
		if err != nil {
			b.Fatal(err)
		}
		defer q.Close()
		for b.Loop() {
			n := 0
			for addr := uint64(0); ; n++ {
				v, ok, err := q.Next(addr)
				if err != nil {
					b.Fatal(err)
				}
				if !ok {
					break
				}
				addr = v.End
			}
			if n < 20000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		pm, err := p.Pagemap()
		if err != nil {
			b.Fatal(err)
		}
		defer pm.Close()
		for b.Loop() {
			n := 0
			if err := pm.Scan(0, 1<<47-pageSize, PageQuery{Any: PagePresent | PageSwapped, Return: PagePresent}, func(r []PageRegion) error {
				n += len(r)
				return nil
			}); err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
	})
}

// 1 GiB in small pages: what smaps costs by the page.
func BenchmarkMemory1GiB(b *testing.B) {
	p, _ := target(b, "memory", 1024)
	var vmas []VMA
	var err error
	b.Run("smaps", func(b *testing.B) {
		for b.Loop() {
			if vmas, err = p.Smaps(vmas[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
	scan := func(entries bool) func(b *testing.B) {
		return func(b *testing.B) {
			pm, err := p.Pagemap()
			if err != nil {
				b.Fatal(err)
			}
			defer pm.Close()
			pm.entries = entries
			q := PageQuery{Inverted: PageZero, All: PageZero, Any: PagePresent | PageSwapped, Return: PagePresent}
			for b.Loop() {
				for _, v := range vmas {
					if v.Start > 1<<47 {
						continue
					}
					if err := pm.Scan(v.Start, v.End, q, func([]PageRegion) error { return nil }); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	}
	b.Run("scan", scan(false))
	b.Run("entries", scan(true))
}

func BenchmarkThreads1000(b *testing.B) {
	p, _ := target(b, "threads", 1000)
	b.Run("status", func(b *testing.B) { benchmarkThreads(b, p, true, false) })
	b.Run("stat", func(b *testing.B) { benchmarkThreads(b, p, false, true) })
	b.Run("both", func(b *testing.B) { benchmarkThreads(b, p, true, true) })
}

func benchmarkThreads(b *testing.B, p *Proc, wantStatus, wantStat bool) {
	b.ReportAllocs()
	var tids []int
	var err error
	var status Status
	var stat Stat
	for b.Loop() {
		if tids, err = p.Tasks(tids[:0]); err != nil || len(tids) < 1000 {
			b.Fatal(len(tids), err)
		}
		for _, tid := range tids {
			t := p.Task(tid)
			if wantStatus {
				if err := t.ReadStatus(&status); err != nil {
					b.Fatal(err)
				}
			}
			if wantStat {
				if err := t.ReadStat(&stat); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

func BenchmarkFDs1000(b *testing.B) {
	p, _ := target(b, "fds", 1000)
	b.ReportAllocs()
	var fds []int
	var err error
	for b.Loop() {
		if fds, err = p.FDs(fds[:0]); err != nil || len(fds) < 1000 {
			b.Fatal(len(fds), err)
		}
		for _, fd := range fds {
			if _, err := p.FDLink(fd); err != nil {
				b.Fatal(err)
			}
			if _, err := p.FDInfo(fd); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkChildren1000Threads(b *testing.B) {
	p, _ := target(b, "threads", 1000)
	for b.Loop() {
		if _, err := p.Children(); err != nil {
			b.Fatal(err)
		}
	}
}
