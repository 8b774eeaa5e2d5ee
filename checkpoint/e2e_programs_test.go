// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
)

// Real programs, as Debian ships them.
var programScenarios = moving([]scenario{
	{name: "program/python3", start: script("python3", "threads.py"), dump: []string{"--file-locks"}, restore: []string{"--file-locks"}, short: true},
	{name: "program/python3_wal", start: script("python3", "threads.py", "wal"), dump: []string{"--file-locks"}, restore: []string{"--file-locks"}},
	{name: "program/go_static", start: goProgram("static")},
	{name: "program/go_cgo", start: goProgram("cgo")},
	{name: "program/bash", start: script("bash", "pipeline.sh"), short: true},
	{name: "program/c++", prog: "exceptions"},
	{name: "program/perl", start: script("perl", "state.pl")},
	scenario{name: "program/node", start: script("node", "server.js")}.withCRIU(noInet),
	{name: "program/nginx_unix", start: startNginx("unix:http.sock"), check: checkNginx},
	scenario{name: "program/nginx", start: startNginx("127.0.0.1:0"), check: checkNginx}.withCRIU(noInet),
	{name: "program/redis_unix", start: startRedis(false), check: checkRedis},
	scenario{name: "program/redis", start: startRedis(true), check: checkRedis, short: true, dump: []string{"--tcp-close"}, restore: []string{"--tcp-close"}}.withCRIU(noInet),
})

// moving is for programs that go on while the test looks: only what they can't change themselves is compared.
func moving(list []scenario) []scenario {
	for i := range list {
		list[i].ignore = []string{"maps", "status", "stat", "comm", "fd"}
		if list[i].name == "program/bash" { // a child may execute its program just now
			list[i].ignore = append(list[i].ignore, "auxv", "cmdline", "environ", "exe")
		}
	}
	return list
}

// script starts an interpreter of Debian's with a program of directory internal/testprog/script.
func script(interpreter, name string, args ...string) func(*testing.T) *testprog.Target {
	return func(t *testing.T) *testprog.Target {
		t.Helper()
		text, err := testprog.Script(name)
		if err != nil {
			t.Fatal(err)
		}
		tgt := testprog.Start(t, debian(t, interpreter), append([]string{name}, args...), &testprog.Options{
			Prep: func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) },
		})
		tgt.Ready()
		return tgt
	}
}

// debian returns the path of an installed program. Not what PATH says: there may be a wrapper of the user's before it.
func debian(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/bin", "/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed (internal/ci/packages test)", name)
	return ""
}

var (
	goStatic = sync.OnceValues(func() (string, error) { return buildGo("static", []string{"CGO_ENABLED=0"}, "goprog.go") })
	goCgo    = sync.OnceValues(func() (string, error) {
		return buildGo("cgo", []string{"CGO_ENABLED=1"}, "goprog.go", "goprog_cgo.go")
	})
)

func buildGo(name string, env []string, files ...string) (string, error) {
	dir, err := os.MkdirTemp("", "go-")
	if err != nil {
		return "", err
	}
	for i, f := range files {
		text, err := testprog.Script(f)
		if err != nil {
			return "", err
		}
		files[i] = filepath.Join(dir, f)
		if err := os.WriteFile(files[i], []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return testprog.GoBuild(name, env, files...)
}

func goProgram(kind string) func(*testing.T) *testprog.Target {
	return func(t *testing.T) *testprog.Target {
		t.Helper()
		build := goStatic
		if kind == "cgo" {
			build = goCgo
		}
		path, err := build()
		if err != nil {
			t.Fatal(err)
		}
		tgt := testprog.Start(t, path, nil, nil)
		tgt.Ready()
		return tgt
	}
}

// listenAddress finds where a server is to listen: "unix:NAME" in its directory or a free port.
func listenAddress(t *testing.T, dir, listen string) (network, address string) {
	t.Helper()
	if name, ok := strings.CutPrefix(listen, "unix:"); ok {
		return "unix", filepath.Join(dir, name)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "tcp", l.Addr().String()
}

// nginxConfig has two workers that serve the directory www.
const nginxConfig = `daemon off;
user root;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log notice;
events { worker_connections 64; }
http {
	access_log %[1]s/access.log;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	limit_req_zone $binary_remote_addr zone=one:1m rate=1000r/s;
	server { listen %[2]s; root %[1]s/www; location / { } }
}
`

func startNginx(listen string) func(*testing.T) *testprog.Target {
	return func(t *testing.T) *testprog.Target {
		t.Helper()
		path := debian(t, "nginx")
		dir, err := os.MkdirTemp("", "nginx-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "www"), 0o755); err != nil {
			t.Fatal(err)
		}
		network, address := listenAddress(t, dir, listen)
		config, log := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "error.log")
		on := address
		if network == "unix" {
			on = "unix:" + address
		}
		for name, text := range map[string]string{
			config: fmt.Sprintf(nginxConfig, dir, on), log: "", filepath.Join(dir, "www", "page"): "the page\n",
		} {
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		tgt := testprog.Start(t, path, []string{"-c", config, "-e", log, "-p", dir}, &testprog.Options{
			Prep: func(d string) error {
				return os.WriteFile(filepath.Join(d, "address"), []byte(network+" "+address), 0o600)
			},
		})
		waitLog(t, log, "start worker process ", 2)
		for deadline := time.Now().Add(testprog.Patience); ; {
			if err := checkNginx(t, tgt); err != nil {
				t.Fatal(err)
			}
			// One worker can answer everything while the other one has not even its title yet.
			if titled(tgt, "nginx: worker process") == 2 {
				return tgt
			}
			if time.Now().After(deadline) {
				t.Fatal("two workers of nginx never began")
			}
		}
	}
}

// titled counts the children of a target's first process whose command line begins so.
func titled(tgt *testprog.Target, title string) (n int) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", tgt.Pid))
	if err != nil {
		return 0
	}
	for _, pid := range strings.Fields(string(children)) {
		line, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err == nil && strings.HasPrefix(string(line), title) {
			n++
		}
	}
	return n
}

// waitLog blocks until a file has n lines with text in them.
func waitLog(t *testing.T, path, text string, n int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	if err := events.SetReadDeadline(time.Now().Add(testprog.Patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(log), text) >= n {
			return
		}
		if _, err := events.Read(buf); err != nil {
			t.Fatalf("%s has no %d lines with %q:\n%s", path, n, text, log)
		}
	}
}

// dialTarget connects to where the file "address" of a target says.
func dialTarget(tgt *testprog.Target) (net.Conn, error) {
	text, err := os.ReadFile(filepath.Join(tgt.Dir, "address"))
	if err != nil {
		return nil, err
	}
	network, address, _ := strings.Cut(string(text), " ")
	c, err := net.DialTimeout(network, address, testprog.Patience)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(testprog.Patience))
}

// checkNginx asks for a page as often as it takes for either worker to answer some.
func checkNginx(t *testing.T, tgt *testprog.Target) error {
	t.Helper()
	client := &http.Client{Timeout: testprog.Patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return dialTarget(tgt) },
	}}
	for i := range 20 {
		res, err := client.Get("http://nginx/page")
		if err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != "the page\n" {
			return fmt.Errorf("request %d: expected the page, seen %q: %v", i, body, err)
		}
	}
	res, err := client.Get("http://nginx/none")
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		return fmt.Errorf("expected 404, seen %s", res.Status)
	}
	return nil
}

func startRedis(tcp bool) func(*testing.T) *testprog.Target {
	return func(t *testing.T) *testprog.Target {
		t.Helper()
		path := debian(t, "redis-server")
		dir, err := os.MkdirTemp("", "redis-")
		if err != nil {
			t.Fatal(err)
		}
		listen := "unix:redis.sock"
		if tcp {
			listen = "127.0.0.1:0"
		}
		network, address := listenAddress(t, dir, listen)
		args := []string{
			"--dir", dir, "--appendonly", "no", "--save", "", "--daemonize", "no", "--supervised", "systemd",
			"--set-proc-title", "no", "--bind", "127.0.0.1", "--port", "0", "--logfile", filepath.Join(dir, "redis.log"),
		}
		if tcp {
			_, port, _ := strings.Cut(address, ":")
			args[len(args)-3] = port
		} else {
			args = append(args, "--unixsocket", address)
		}
		// Redis tells systemd when it is ready; here, the test.
		notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, "notify")})
		if err != nil {
			t.Fatal(err)
		}
		defer notify.Close()
		tgt := testprog.Start(t, path, args, &testprog.Options{
			Env: []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "notify")},
			Prep: func(d string) error {
				return os.WriteFile(filepath.Join(d, "address"), []byte(network+" "+address), 0o600)
			},
		})
		if err := notify.SetReadDeadline(time.Now().Add(testprog.Patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1000)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				t.Fatalf("redis is not ready: %v", err)
			}
			if strings.Contains(string(buf[:n]), "READY=1") {
				break
			}
		}
		if err := redisDo(tgt, redisKeys, func(i int) (string, string) {
			return fmt.Sprintf("SET key:%d value:%d", i, i*i), "+OK"
		}); err != nil {
			t.Fatal(err)
		}
		if err := redisDo(tgt, 1, func(int) (string, string) { return "EXPIRE key:7 10000", ":1" }); err != nil {
			t.Fatal(err)
		}
		return tgt
	}
}

const redisKeys = 2000

// checkRedis reads every key back and writes some more.
func checkRedis(_ *testing.T, tgt *testprog.Target) error {
	if err := redisDo(tgt, redisKeys, func(i int) (string, string) {
		return fmt.Sprintf("GET key:%d", i), fmt.Sprintf("value:%d", i*i)
	}); err != nil {
		return err
	}
	if err := redisDo(tgt, 1, func(int) (string, string) { return "DBSIZE", fmt.Sprintf(":%d", redisKeys) }); err != nil {
		return err
	}
	return redisDo(tgt, 100, func(i int) (string, string) { return "INCR counter", fmt.Sprintf(":%d", i+1) })
}

// redisDo sends n inline commands over one connection and compares the answers.
func redisDo(tgt *testprog.Target, n int, command func(i int) (send, want string)) error {
	c, err := dialTarget(tgt)
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for i := range n {
		send, want := command(i)
		if _, err := fmt.Fprintf(c, "%s\r\n", send); err != nil {
			return fmt.Errorf("%s: %w", send, err)
		}
		got, err := r.ReadString('\n')
		if err == nil && strings.HasPrefix(got, "$") && got != "$-1\r\n" {
			got, err = r.ReadString('\n')
		}
		if got = strings.TrimRight(got, "\r\n"); err != nil || got != want {
			return fmt.Errorf("%s: expected %q, seen %q: %v", send, want, got, err)
		}
	}
	return nil
}
