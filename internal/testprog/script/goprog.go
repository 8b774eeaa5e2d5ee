// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// A Go program with goroutines that compute, sleep, wait on channels and sockets, timers, signals and garbage; built
// static, and (with goprog_cgo.go) with cgo.
package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// more is set by the file that uses cgo.
var more func() (start, check func() error)

func say(line string) {
	f, err := os.OpenFile("out", os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

var failures []string

func check(cond bool, format string, args ...any) {
	if !cond {
		failures = append(failures, fmt.Sprintf(format, args...))
	}
}

func compute(stop *atomic.Bool) (uint64, uint64) {
	h := fnv.New64a()
	n := uint64(0)
	for !stop.Load() {
		fmt.Fprint(h, n)
		n++
		if n%1000 == 0 {
			runtime.Gosched()
		}
	}
	return h.Sum64(), n
}

func main() {
	var stop atomic.Bool
	var wg sync.WaitGroup
	type result struct{ sum, n uint64 }
	results := make(chan result, 4)
	for range 2 {
		wg.Go(func() { s, n := compute(&stop); results <- result{s, n} })
	}
	in, out := make(chan int), make(chan int)
	for range 200 {
		go func() {
			for v := range in {
				out <- v * 2
			}
		}()
	}
	var ticks atomic.Int64
	ticker := time.NewTicker(5 * time.Millisecond)
	go func() {
		for range ticker.C {
			ticks.Add(1)
		}
	}()
	late := time.After(500 * time.Millisecond)
	sig := make(chan os.Signal, 4)
	signal.Notify(sig, syscall.SIGUSR2)
	l, err := net.Listen("unix", "socket")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	read := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		n, _ := r.Read(b)
		read <- string(b[:n])
	}()
	tree := map[string][]byte{}
	for i := range 20000 {
		tree[fmt.Sprint(i)] = []byte(strings.Repeat("x", i%50))
	}
	runtime.GC()
	var verify func() error
	if more != nil {
		start, v := more()
		if err := start(); err != nil {
			panic(err)
		}
		verify = v
	}

	say("ready")
	// In an open that blocks, in a thread of its own; the rest of the program goes on.
	f, err := os.Open("cmd")
	if err != nil {
		panic(err)
	}
	_, _ = io.ReadAll(f)
	f.Close()

	before := ticks.Load()
	stop.Store(true)
	wg.Wait()
	for range 2 {
		r := <-results
		h := fnv.New64a()
		for n := range r.n {
			fmt.Fprint(h, n)
		}
		check(h.Sum64() == r.sum, "a computation over %d rounds gave %x, expected %x", r.n, r.sum, h.Sum64())
	}
	for i := range 1000 {
		in <- i
		check(<-out == 2*i, "channel: %d", i)
	}
	select {
	case <-late:
	case <-time.After(30 * time.Second):
		check(false, "the timer did not fire")
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGUSR2)
	select {
	case <-sig:
	case <-time.After(30 * time.Second):
		check(false, "the signal did not come")
	}
	c, err := net.Dial("unix", "socket")
	check(err == nil, "dial: %v", err)
	if err == nil {
		fmt.Fprint(c, "echo")
		b := make([]byte, 4)
		_, err := io.ReadFull(c, b)
		check(err == nil && string(b) == "echo", "the server answers %q: %v", b, err)
		c.Close()
	}
	fmt.Fprint(w, "through the pipe")
	select {
	case s := <-read:
		check(s == "through the pipe", "the pipe reads %q", s)
	case <-time.After(30 * time.Second):
		check(false, "the reader of the pipe sleeps")
	}
	runtime.GC()
	for i := range 20000 {
		check(len(tree[fmt.Sprint(i)]) == i%50, "map entry %d", i)
	}
	deadline := time.Now().Add(30 * time.Second)
	for ticks.Load() == before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	check(ticks.Load() > before, "the ticker stands still")
	if verify != nil {
		err := verify()
		check(err == nil, "cgo: %v", err)
	}
	for _, f := range failures {
		say("FAIL: " + f)
	}
	if len(failures) > 0 {
		say("failed")
		return
	}
	say("ok")
}
