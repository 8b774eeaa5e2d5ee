// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// redis is the server, a child of this process by birth or by adoption.
type redis struct {
	pid  int
	port int
}

// identity is what a server keeps for as long as it lives, and only so long.
type identity struct {
	version, runID string
}

// findRedis gives the server's program. Debian ships it as redis-check-rdb in redis-tools, where redis-server is a symbolic link to it: the
// name by which it is called says what it does.
func findRedis() (string, error) {
	for _, name := range []string{"redis-server", "redis-check-rdb"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no redis-server: install Debian's redis-tools")
}

// freePort gives a port of the loopback interface on which nobody listens. It is below the range from which the kernel takes ports of
// clients (32768 and up): a client that tries to connect to a port of that range while the server is away can end up connected to itself.
func freePort() (int, error) {
	for port := 6400 + os.Getppid()%1000; port < 9000; port++ {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port between 6400 and 9000")
}

// startRedis runs a server that keeps everything in memory and waits until it answers. Its standard descriptors are files: a terminal
// or somebody else's pipe can't be carried over.
func startRedis(dir string) (*redis, error) {
	program, err := findRedis()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	log := filepath.Join(dir, "redis.log")
	output, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := exec.Command(program)
	cmd.Args = []string{
		"redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--daemonize", "no", "--dir", dir, "--logfile", log,
		"--save", "", "--appendonly", "no",
	}
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	server := &redis{pid: cmd.Process.Pid, port: port}
	if err := cmd.Process.Release(); err != nil {
		return nil, err
	}
	c, err := connect(server.address(), 10*time.Second)
	if err != nil {
		text, _ := os.ReadFile(log)
		return nil, fmt.Errorf("redis-server: %w\n%s", err, text)
	}
	return server, c.Close()
}

func (r *redis) address() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

// wait collects the server, which a dump has ended.
func (r *redis) wait() error {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(r.pid, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for redis-server (pid %d): %w", r.pid, err)
		}
		break
	}
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("redis-server (pid %d) was not ended by the dump: wait status %#x", r.pid, uint32(status))
	}
	return nil
}

// identity asks the server who it is.
func (r *redis) identity() (identity, error) {
	c, err := connect(r.address(), 10*time.Second)
	if err != nil {
		return identity{}, err
	}
	defer c.Close()
	text, err := c.do("INFO", "server")
	if err != nil {
		return identity{}, err
	}
	var id identity
	for line := range strings.SplitSeq(text, "\r\n") {
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "redis_version":
			id.version = value
		case "run_id":
			id.runID = value
		case "process_id":
			if value != fmt.Sprint(r.pid) {
				return identity{}, fmt.Errorf("redis-server says that its pid is %s, expected %d", value, r.pid)
			}
		}
	}
	if id.runID == "" {
		return identity{}, fmt.Errorf("INFO server without a run_id: %q", text)
	}
	return id, nil
}
