// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/probes"
)

// bad is what a kernel says that is not well.
var bad = regexp.MustCompile(`Oops|BUG|WARNING|rcu_|Unable to handle|KASAN|lockdep|deadlock|Call Trace|hung task|soft lockup|` +
	`scheduling while atomic|sleeping function|leaked|corrupt|refcount_t`)

// harmless are messages that match bad and say nothing of the sort.
var harmless = regexp.MustCompile(`lock(dep)? debugging|Lock dependency validator|rcu_stall_suppress`)

// watchKernel fails the test if the kernel says something bad, does not have its text back at the end, leaks descriptors, or no longer counts.
func watchKernel(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Seek(0, unix.SEEK_END); err != nil {
		t.Fatal(err)
	}
	before := textNow(t)
	open := len(descriptors(t))
	t.Cleanup(func() {
		defer log.Close()
		for _, line := range kernelLines(log) {
			if bad.MatchString(line) && !harmless.MatchString(line) {
				t.Errorf("the kernel said: %s", line)
			} else {
				t.Logf("the kernel said: %s", line)
			}
		}
		if after := textNow(t); !t.Failed() {
			compareText(t, before, after)
		}
		if now := descriptors(t); len(now) != open {
			t.Errorf("%d descriptors are open, %d were before: %v", len(now), open, now)
		}
		countExactly(t)
	})
}

// kernelLines are what the kernel has said since log was last read.
func kernelLines(log *os.File) []string {
	var lines []string
	record := make([]byte, 8<<10)
	for {
		n, err := unix.Read(int(log.Fd()), record)
		if errors.Is(err, unix.EPIPE) {
			lines = append(lines, "WARNING: messages are lost")
			continue
		}
		if err != nil || n == 0 {
			return lines
		}
		_, text, _ := bytes.Cut(record[:n], []byte(";"))
		text, _, _ = bytes.Cut(text, []byte("\n"))
		lines = append(lines, string(text))
	}
}

// descriptors are the open files of this process.
func descriptors(t *testing.T) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, link := range links {
		// The runtime opens its poll descriptors when it first needs them.
		if to, err := os.Readlink(link); err == nil && !strings.HasPrefix(to, "anon_inode:[event") {
			open = append(open, to)
		}
	}
	return open
}

// kernelText is where the kernel's code and its functions are.
type kernelText struct {
	start, end uint64
	functions  []probes.Symbol // in the order of addresses, one an address
	names      map[uint64][]string
	symbols    *probes.Symbols
}

var readKernelText = sync.OnceValues(func() (*kernelText, error) {
	symbols, err := probes.LoadSymbols()
	if err != nil {
		return nil, err
	}
	k := &kernelText{symbols: symbols, names: map[uint64][]string{}}
	for name, to := range map[string]*uint64{"_stext": &k.start, "_etext": &k.end} {
		found := symbols.Lookup(name)
		if len(found) != 1 || found[0].Address == 0 {
			return nil, fmt.Errorf("kallsyms has no address of %s", name)
		}
		*to = found[0].Address
	}
	for s := range symbols.All() {
		if !s.Function() {
			continue
		}
		if len(k.names[s.Address]) == 0 {
			k.functions = append(k.functions, s)
		}
		k.names[s.Address] = append(k.names[s.Address], s.Name)
	}
	if len(k.functions) < 1000 {
		return nil, fmt.Errorf("kallsyms has but %d functions", len(k.functions))
	}
	return k, nil
})

func text(t *testing.T) *kernelText {
	t.Helper()
	k, err := readKernelText()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// at names an address.
func (k *kernelText) at(address uint64) string {
	i, found := slices.BinarySearchFunc(k.functions, address, func(s probes.Symbol, a uint64) int {
		switch {
		case s.Address < a:
			return -1
		case s.Address > a:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	if i < 0 {
		return fmt.Sprintf("%#x", address)
	}
	return fmt.Sprintf("%s+%#x", k.functions[i].Name, address-k.functions[i].Address)
}

// only finds the one function of a name.
func (k *kernelText) only(t *testing.T, name string) probes.Symbol {
	t.Helper()
	found, err := k.symbols.Functions("", name)
	if err != nil || len(found) != 1 {
		t.Fatalf("function %s: %d found (%v)", name, len(found), err)
	}
	return found[0]
}

// countExactly checks that ordinary use still works: a probe counts each of some calls, by each method.
func countExactly(t *testing.T) {
	t.Helper()
	const calls = 100
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	for _, flags := range []uint64{0, abi.FlagNoJump} {
		for _, kind := range []uint32{abi.KindEntry, abi.KindReturn, abi.KindLatency} {
			p, err := openProbe(abi.Attr{Kind: kind, Flags: flags, GroupFD: -1, Address: text(t).only(t, "write_null").Address}, nil)
			if err != nil {
				t.Errorf("probe write_null: %v", err)
				return
			}
			err = p.enable()
			for range calls {
				if _, e := unix.Write(null, []byte{1}); e != nil {
					err = errors.Join(err, e)
				}
			}
			s, e := p.stats()
			if err := errors.Join(err, e, p.disable(), p.close()); err != nil {
				t.Error(err)
			}
			// Others write to /dev/null too, but rarely.
			if s.Count < calls || s.Count > 2*calls || s.Missed != 0 {
				t.Errorf("kind %d, flags %#x: %d of %d calls of write_null counted, %d missed", kind, flags, s.Count, calls, s.Missed)
			}
		}
	}
}

// TestExact is ordinary use, before anything else can have spoilt it.
func TestExact(t *testing.T) {
	watchKernel(t)
}

// memory is what the kernel has not given away, kB, by /proc/meminfo.
func memory(t *testing.T) int {
	t.Helper()
	content, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if value, found := strings.CutPrefix(line, "MemAvailable:"); found {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("/proc/meminfo has no MemAvailable")
	return 0
}
