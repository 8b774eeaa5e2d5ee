// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/vm/wire"
)

const (
	// bootLimit is how long a guest may take to answer. It takes some 4 s on a quiet machine.
	bootLimit = 3 * time.Minute
	// closeLimit is how long an orderly end may take.
	closeLimit = 15 * time.Second
)

// ErrCrashed says that the guest's kernel panicked. The error that wraps it quotes the console.
var ErrCrashed = errors.New("the guest's kernel crashed")

// ErrEnded says that the guest is not running any more.
var ErrEnded = errors.New("the guest has ended")

// Config is what a guest is made of. Only Kernel is needed.
type Config struct {
	Kernel Kernel
	// Machine is what QEMU emulates; nil is the one for Kernel.
	Machine *Machine
	// Clock is how the processors run.
	Clock Clock
	// CPUs, 2 if 0; with CountInstructions 1.
	CPUs int
	// MemoryMiB, 2048 if 0. What the guest writes to files is in it, too.
	MemoryMiB int
	// Cmdline is added to the kernel's command line.
	Cmdline []string
	// Files are files and directories of the host (absolute paths) that are seen at another path in the guest, read-only:
	// path in the guest → path on the host.
	Files map[string]string
	// Shared are directories of the host that the guest writes to, and in which it sees at once what the host writes.
	// Everywhere else its writes stay in its own memory, and a file that it has seen once does not change for it.
	Shared []string
	// Env is set for every command, "NAME=value".
	Env []string
	// Logger gets what happens, and at level debug the console. Nil is silent.
	Logger *slog.Logger
}

func (c *Config) cpus() int {
	switch {
	case c.CPUs != 0:
		return c.CPUs
	case c.Clock == CountInstructions:
		return 1
	default:
		return 2
	}
}

func (c *Config) memoryMiB() int {
	if c.MemoryMiB == 0 {
		return 2048
	}
	return c.MemoryMiB
}

func (c *Config) machine() *Machine {
	switch {
	case c.Machine != nil:
		return c.Machine
	case c.Kernel.GOARCH == "riscv64":
		return RISCV64()
	default:
		return PC()
	}
}

func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// cmdline is the kernel's command line.
func (c *Config) cmdline() string {
	return strings.Join(slices.Concat([]string{
		"console=" + c.machine().Console,
		// Warnings are shown, the hundreds of lines of a start are not: a serial port is slow.
		"loglevel=5",
		// An oops ends the guest as a panic does, and a panic ends QEMU: it runs with -no-reboot.
		"oops=panic", "panic=-1",
		// An emulated processor may stand still for seconds when the host is busy; that is no error of the guest.
		"rcupdate.rcu_cpu_stall_suppress=1",
		// There is no secret to keep from a guest's own programs.
		"mitigations=off",
	}, c.machine().Cmdline, c.Cmdline), " ")
}

// Guest is a running guest. Its methods may be called from several goroutines.
type Guest struct {
	config  Config
	log     *slog.Logger
	dir     string // of sockets and initramfs; removed at the end
	console *console
	qemu    *child
	files   []*fileServer
	port    net.Conn
	cancel  context.CancelFunc
	ready   chan struct{}

	closing sync.Once

	sending sync.Mutex // of out
	out     *json.Encoder

	mu       sync.Mutex // of what follows
	last     int        // id
	commands map[int]*command
	ended    bool // the port is gone
}

// Start boots a guest and returns when it takes commands. It runs until Close, or until ctx ends.
// On failure nothing is left behind, and the error quotes what the guest said last.
func Start(ctx context.Context, config Config) (*Guest, error) {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	g := &Guest{
		config: config, log: config.logger(), console: &console{log: config.logger()}, cancel: cancel,
		ready: make(chan struct{}), commands: map[int]*command{},
	}
	if err := g.start(ctx); err != nil {
		g.end()
		return nil, fmt.Errorf("vm: guest %s: %w", config.Kernel.Release, err)
	}
	g.log.Info("guest is up", "kernel", config.Kernel.Release, "took", time.Since(began).Round(time.Millisecond))
	return g, nil
}

func (g *Guest) start(ctx context.Context) error {
	if g.config.Clock == CountInstructions && g.config.cpus() != 1 {
		return fmt.Errorf("instructions can be counted with 1 processor only, not with %d", g.config.cpus())
	}
	machine := g.config.machine()
	if _, err := exec.LookPath(machine.QEMU); err != nil {
		return fmt.Errorf("%w; install %s", err, machine.Package)
	}
	if os.Getuid() != 0 {
		return errors.New("root is needed to serve the host's files to a guest")
	}
	// Paths of sockets have to be short, so not below a test's own directory.
	dir, err := os.MkdirTemp("", fmt.Sprintf("guest-%d-", os.Getpid()))
	if err != nil {
		return err
	}
	g.dir = dir
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitrd(ctx, initrd, machine, g.config.Kernel, g.setup()); err != nil {
		return err
	}
	if err := g.serveFiles(ctx); err != nil {
		return err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	g.port, g.out = ours, json.NewEncoder(ours)

	cmd := exec.CommandContext(ctx, machine.QEMU, machine.args(&g.config, initrd, 3, g.files)...)
	cmd.Stdout, cmd.Stderr = g.console, g.console
	cmd.ExtraFiles = []*os.File{theirs}
	if g.qemu, err = startChild(cmd); err != nil {
		g.qemu = nil
		return fmt.Errorf("start %s: %w", machine.QEMU, err)
	}
	go g.receive()
	limit := time.NewTimer(bootLimit)
	defer limit.Stop()
	select {
	case <-g.ready:
		// QEMU has read the initramfs and opened the sockets: nothing is left to lie about if we are killed.
		return os.RemoveAll(dir)
	case <-g.qemu.done:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return g.death()
	case <-limit.C:
		return fmt.Errorf("it did not answer within %v%s", bootLimit, g.quoteConsole())
	}
}

// setup is what the guest's init is told.
func (g *Guest) setup() wire.Setup {
	kernel := g.config.Kernel
	setup := wire.Setup{
		Hostname: "guest-" + strings.ReplaceAll(kernel.Series, ".", "-"),
		Shared:   g.config.Shared,
		Env: append([]string{
			"PATH=" + guestPath(), "HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=xterm-256color", "TRAPLINE_GUEST=" + kernel.Series, "TRAPLINE_GUEST_CONFIG=" + kernel.Config,
		}, g.config.Env...),
	}
	if kernel.Modules != "" {
		setup.Binds = append(setup.Binds, wire.Bind{From: kernel.Modules, To: "/lib/modules/" + kernel.Release})
	}
	if kernel.Boot != "" {
		setup.Binds = append(setup.Binds, wire.Bind{From: kernel.Boot, To: "/boot"})
	}
	for to, from := range g.config.Files {
		setup.Binds = append(setup.Binds, wire.Bind{From: from, To: to})
	}
	return setup
}

// guestPath is the host's own PATH, so that what is found here is found there, and what Debian's root has.
func guestPath() string {
	const root = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if own := os.Getenv("PATH"); own != "" {
		return own + ":" + root
	}
	return root
}

// serveFiles starts the servers of the host's files.
func (g *Guest) serveFiles(ctx context.Context) error {
	caches := map[string]string{wire.HostTag: "always"}
	if len(g.config.Shared) > 0 {
		caches[wire.SharedTag] = "auto"
	}
	for tag, cache := range caches {
		server, err := serveFiles(ctx, tag, filepath.Join(g.dir, tag), cache, g.log)
		if err != nil {
			return err
		}
		g.files = append(g.files, server)
	}
	return nil
}

// socketPair returns one end for here and one to give to a child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "agent")
	defer ours.Close()
	theirs := os.NewFile(uintptr(fds[1]), "agent")
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return conn, theirs, nil
}

// Kernel is what the guest runs.
func (g *Guest) Kernel() Kernel { return g.config.Kernel }

// Console returns what the guest's kernel has said so far (of much output the end).
func (g *Guest) Console() string { return g.console.text() }

// Close ends the guest and waits until nothing of it is left. Files in shared directories are complete then.
// The error is about a guest that had to be killed or that had crashed. Closing twice is fine.
func (g *Guest) Close() error {
	var err error
	g.closing.Do(func() {
		g.mu.Lock()
		ended := g.ended
		g.mu.Unlock()
		switch {
		case ended:
			err = g.death()
		case g.send(wire.ToGuest{Shutdown: true}) == nil:
			limit := time.NewTimer(closeLimit)
			defer limit.Stop()
			select {
			case <-g.qemu.done:
				if g.console.crash() != "" {
					err = g.death()
				}
			case <-limit.C:
				err = fmt.Errorf("it did not end within %v and was killed%s", closeLimit, g.quoteConsole())
			}
		}
		if err != nil {
			err = fmt.Errorf("vm: guest %s: %w", g.config.Kernel.Release, err)
		}
		g.end()
	})
	return err
}

// end kills what is left.
func (g *Guest) end() {
	g.cancel()
	g.qemu.kill()
	for _, server := range g.files {
		server.kill()
	}
	if g.port != nil {
		g.port.Close()
	}
	if g.dir != "" {
		if err := os.RemoveAll(g.dir); err != nil {
			g.log.Warn("the guest's files stay", "error", err)
		}
	}
}

// death says why the guest is gone. QEMU has ended or is about to.
func (g *Guest) death() error {
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-g.qemu.done:
	case <-limit.C:
		return fmt.Errorf("%w: its agent has, QEMU has not%s", ErrEnded, g.quoteConsole())
	}
	if line := g.console.crash(); line != "" {
		return fmt.Errorf("%w: %s%s", ErrCrashed, line, g.quoteConsole())
	}
	why := "QEMU ended"
	if g.qemu.err != nil {
		why += " (" + g.qemu.err.Error() + ")"
	}
	return fmt.Errorf("%w: %s%s", ErrEnded, why, g.quoteConsole())
}

// quoteConsole is the end of an error about a guest that can't say itself what is wrong.
func (g *Guest) quoteConsole() string {
	tail := g.console.tail()
	if tail == "" {
		return "; its console is empty"
	}
	return "; the end of its console:\n\t" + strings.ReplaceAll(tail, "\n", "\n\t")
}
