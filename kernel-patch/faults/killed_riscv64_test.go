// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/probes"
)

// How often a loader is killed.
const (
	shortKills  = 12
	stressKills = 100
	victimMax   = 1000 // probes of one
	// memoryLeft is what may be gone in the end, kB: caches of the kernel that fill. A probe that leaked in each round would take as much in
	// a round.
	memoryLeft = 16 << 10
)

func init() { roles["victim"] = victimRole }

// victimRole is a loader that places probes, reads and maps them, and takes them out, until it is killed. It writes a byte for every step.
func victimRole() int {
	step := func() { os.Stdout.Write([]byte{'.'}) }
	seed, _ := strconv.ParseUint(os.Getenv("TRAPLINE_VICTIM_SEED"), 10, 64)
	random := rand.New(rand.NewPCG(seed, 1))
	limit := unix.Rlimit{Cur: 8192, Max: 8192}
	k, err := readFunctions(os.Getenv("TRAPLINE_FUNCTIONS"))
	if err := errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit), before()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		if err := victimRound(k, random, 1+random.IntN(victimMax), step); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

// writeFunctions keeps the functions' addresses in a file: to read /proc/kallsyms takes longer than most victims live.
func writeFunctions(t *testing.T, k *kernelText) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "functions")
	var addresses []byte
	for _, f := range k.functions {
		addresses = binary.LittleEndian.AppendUint64(addresses, f.Address)
	}
	if err := os.WriteFile(file, addresses, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func readFunctions(file string) (*kernelText, error) {
	addresses, err := os.ReadFile(file)
	k := &kernelText{}
	for ; len(addresses) >= 8; addresses = addresses[8:] {
		k.functions = append(k.functions, probes.Symbol{Address: binary.LittleEndian.Uint64(addresses)})
	}
	return k, err
}

func victimRound(k *kernelText, random *rand.Rand, n int, step func()) error {
	leader := probe{-1}
	var group []probe
	for len(group) < n {
		attr := randomAttr(random, k)
		attr.GroupFD = int32(leader.fd)
		attr.Flags |= abi.FlagEvents
		p, err := openProbe(attr, nil)
		if why, ok := errors.AsType[*refusal](err); ok && why.documented() {
			if why.reason == abi.ReasonSlots {
				break
			}
			continue
		} else if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		group = append(group, p)
		leader = group[0]
		if len(group)%64 == 0 {
			step()
		}
	}
	step()
	if len(group) == 0 {
		return nil
	}
	size := unix.Getpagesize()
	page, err := unix.Mmap(leader.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the page: %w", err)
	}
	step()
	ring, err := unix.Mmap(leader.fd, int64(size), 65*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the ring: %w", err)
	}
	step()
	if err := leader.control(abi.IocEnable, abi.WholeGroup); err != nil {
		return err
	}
	step()
	for _, p := range group {
		if _, err := p.stats(); err != nil {
			return err
		}
	}
	step()
	if random.IntN(2) == 0 {
		if err := leader.control(abi.IocDisable, abi.WholeGroup); err != nil {
			return err
		}
		step()
	}
	for i, p := range group {
		if err := p.close(); err != nil {
			return err
		}
		if i%64 == 0 {
			step()
		}
	}
	step()
	return errors.Join(unix.Munmap(ring), unix.Munmap(page))
}

// TestKilled kills loaders at random moments while the load runs. Nothing of them is left.
func TestKilled(t *testing.T) {
	watchKernel(t)
	number := seed(t)
	random := rand.New(rand.NewPCG(number, 0))
	k := text(t)
	note := notebook(t, "kill")
	sample := instructions(t, k, random, victimMax)
	functions := writeFunctions(t, k)
	l := startLoad(t)
	kills := shortKills
	if stress(t) > 0 {
		kills = stressKills
	}
	began := time.Now()
	steps := 0
	// Caches fill in the first rounds.
	killOne(t, functions, number, 40)
	before := memory(t)
	for i := range kills {
		after := random.IntN(60)
		note(fmt.Sprintf("victim %d, seed %d, after %d steps", i, number+uint64(i), after))
		steps += killOne(t, functions, number+uint64(i), after)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d loaders killed in %v, after %d steps", kills, time.Since(began).Round(time.Millisecond), steps)
	l.stop(t)
	if lost := before - memory(t); lost > memoryLeft {
		t.Errorf("%d kB of memory did not come back", lost)
	}
	for address, instruction := range sample {
		p, err := openAt(address, -1)
		if err != nil {
			t.Errorf("%s: accepted before, now %v", k.at(address), err)
			continue
		}
		info, err := p.info()
		if err := errors.Join(err, p.close()); err != nil {
			t.Errorf("%s: %v", k.at(address), err)
		}
		if info.Instruction != instruction {
			t.Errorf("%s: instruction %#x, was %#x", k.at(address), info.Instruction, instruction)
		}
	}
}

// instructions are those that are at the begin of n functions that can be probed.
func instructions(t *testing.T, k *kernelText, random *rand.Rand, n int) map[uint64]uint32 {
	t.Helper()
	found := map[uint64]uint32{}
	for _, i := range random.Perm(len(k.functions)) {
		var f probes.Symbol = k.functions[i]
		p, err := openAt(f.Address, -1)
		if err != nil {
			continue
		}
		info, err := p.info()
		if err := errors.Join(err, p.close()); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if found[f.Address] = info.Instruction; len(found) == n {
			break
		}
	}
	return found
}

// killOne starts a victim and kills it after some of its steps. It returns how many it did.
func killOne(t *testing.T, functions string, seed uint64, after int) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=victim", "TRAPLINE_FUNCTIONS="+functions, fmt.Sprintf("TRAPLINE_VICTIM_SEED=%d", seed))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for b := make([]byte, 1); steps < after; steps++ {
		if _, err := stdout.Read(b); err != nil {
			t.Errorf("the victim ended before its time: %v", err)
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("kill: %v", err)
	}
	err = cmd.Wait()
	exited, _ := errors.AsType[*exec.ExitError](err)
	if exited == nil || exited.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("the victim ended with %v", err)
	}
	return steps
}
