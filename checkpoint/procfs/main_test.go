// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// childEnv makes the test binary play a target: its value says which, and with what number.
const childEnv = "TRAPLINE_PROCFS_TARGET"

// targets build up what they are named after, and may print a line of values that the test wants to know.
var targets = map[string]func(n int) string{
	"idle":    func(int) string { return "" },
	"maps":    targetMaps,
	"memory":  targetMemory,
	"threads": targetThreads,
	"fds":     targetFDs,
}

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		name, count, _ := strings.Cut(what, " ")
		n, _ := strconv.Atoi(count)
		fmt.Println("ready", targets[name](n))
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// target starts one and returns it opened, with the line that it printed.
func target(tb testing.TB, name string, n int) (*Proc, string) {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe", "an argument", "")
	cmd.Env = []string{childEnv + "=" + name + " " + strconv.Itoa(n)}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready") {
		tb.Fatalf("target %s: %q, %v", name, line, err)
	}
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p, strings.TrimSpace(strings.TrimPrefix(line, "ready"))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// targetMaps makes n mappings of a page by giving every second page another protection.
func targetMaps(n int) string {
	mem, err := unix.Mmap(-1, 0, n*int(pageSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	must(err)
	for i := 0; i < n; i++ {
		page := mem[i*int(pageSize) : (i+1)*int(pageSize)]
		page[0] = 1
		if i%2 == 1 {
			must(unix.Mprotect(page, unix.PROT_READ))
		}
	}
	return ""
}

// targetMemory fills n MiB with small pages.
func targetMemory(n int) string {
	mem, err := unix.Mmap(-1, 0, n<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	must(err)
	must(unix.Madvise(mem, unix.MADV_NOHUGEPAGE))
	for i := 0; i < len(mem); i += int(pageSize) {
		mem[i] = 1
	}
	return ""
}

// targetThreads starts n threads that stay in the kernel.
func targetThreads(n int) string {
	var pipe [2]int
	must(unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	started := make(chan bool)
	for range n {
		go func() {
			runtime.LockOSThread()
			started <- true
			var b [1]byte
			_, _ = unix.Read(pipe[0], b[:])
		}()
		<-started
	}
	return ""
}

// targetFDs opens n regular files.
func targetFDs(n int) string {
	for range n {
		_, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(err)
	}
	return ""
}
