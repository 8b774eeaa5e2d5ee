// SPDX-License-Identifier: Apache-2.0

//go:build !riscv64

package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/internal/vm"
)

// TestCommandLine counts in a guest, and on the way there is dumped and restored by the commands that a user types, each
// from this side of the guest. The images come out by a shared directory and are read here, by CRIU's own tool too where
// TRAPLINE_CRIT names it.
func TestCommandLine(t *testing.T) {
	if testing.Short() {
		t.Skip("guests are not for short runs")
	}
	t.Setenv("TMPDIR", t.TempDir())
	engine, err := testprog.GoBuild("trapline", []string{"GOARCH=riscv64", "CGO_ENABLED=0"}, "github.com/trapline/trapline/cmd/trapline")
	if err != nil {
		t.Fatal(err)
	}
	counter, err := testprog.BuildFor("riscv64", "counter")
	if err != nil {
		t.Fatal(err)
	}
	shared := t.TempDir()
	images, output := filepath.Join(shared, "images"), filepath.Join(shared, "counted")
	if err := os.Mkdir(images, 0o700); err != nil {
		t.Fatal(err)
	}
	c := config(t)
	c.Shared, c.Clock = []string{shared}, vm.ThreadEach
	guest, err := vm.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close() })
	command := func(args ...string) {
		t.Helper()
		var out bytes.Buffer
		if err := guest.Run(t.Context(), vm.Command{Args: args, Dir: "/", Stdout: &out, Stderr: &out}); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
	}

	killed := make(chan error, 1)
	go func() { killed <- guest.Run(t.Context(), vm.Command{Args: []string{counter, output, "150"}, Dir: "/"}) }()
	var pid int
	await(t, output, func(text string) bool {
		_, err := fmt.Sscanf(text, "pid %d\n", &pid)
		return err == nil && strings.Contains(text, "\n5\n")
	})
	command(engine, "dump", "-t", fmt.Sprint(pid), "-D", images, "-v4", "-o", "dump.log")
	if exit, ok := errors.AsType[*vm.ExitError](<-killed); !ok || exit.Signal == 0 {
		t.Errorf("the counter was not killed after its dump: %v", exit)
	}
	command(engine, "verify", images)
	command(engine, "restore", "-D", images, "-d", "-o", "restore.log")
	text := await(t, output, func(text string) bool { return strings.Contains(text, "whole") || strings.Contains(text, "wrong") })
	if !strings.HasSuffix(text, "\nwhole: 150 numbers, none is missing\n") {
		t.Errorf("the counter's verdict: %s", text)
	}
	if err := guest.Close(); err != nil {
		t.Error(err)
	}
	readCore(t, filepath.Join(images, fmt.Sprintf("core-%d.img", pid)))
	if tool := os.Getenv("TRAPLINE_CRIT"); tool != "" {
		decodeAll(t, tool, images)
	}
}

// await reads a file, which a guest writes, until it has what is asked for.
func await(t *testing.T, file string, enough func(text string) bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(file)
		if err == nil && enough(string(text)) {
			return string(text)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s never got what was expected; it has %q, %v", file, text, err)
		}
	}
}

// readCore reads registers by go-criu's crit.
func readCore(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := crit.New(f, nil, "", false, false).Decode(&criu_core.CoreEntry{})
	if err != nil {
		t.Fatalf("crit: %s: %v", file, err)
	}
	core, ok := img.Entries[0].Message.(*criu_core.CoreEntry)
	if !ok || core.GetMtype() != criu_core.CoreEntry_RISCV64 {
		t.Fatalf("crit: %s: %T of %v", file, img.Entries[0].Message, core.GetMtype())
	}
	regs, fp := core.GetTiRiscv64().GetGpregs(), core.GetTiRiscv64().GetFpsimd()
	if regs.GetPc() == 0 || regs.GetSp() == 0 || regs.GetTp() == 0 || regs.GetTp() != core.GetTiRiscv64().GetTls() || len(fp.GetF()) != 32 {
		t.Errorf("crit: registers are missing: %v %v", regs, fp)
	}
	if err := proto.CheckInitialized(core); err != nil {
		t.Error(err)
	}
}

// decodeAll has CRIU's own tool decode every image.
func decodeAll(t *testing.T, tool, images string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(images, "*.img"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no images: %v", err)
	}
	for _, file := range files {
		if kind, _, ok := image.KindOf(filepath.Base(file)); !ok || kind.Magic == "" {
			continue // contents of memory alone
		}
		out, err := exec.CommandContext(t.Context(), tool, "decode", "-i", file).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte(`"magic"`)) {
			t.Errorf("crit decode -i %s: %v\n%s", filepath.Base(file), err, out)
		}
	}
}
