// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/trapline/trapline/internal/vm/wire"
)

// initPackage is the program that is process 1 of a guest.
const initPackage = "github.com/trapline/trapline/internal/vm/init"

// writeInitrd writes the initramfs: init, the modules it has to load, and its settings.
func writeInitrd(ctx context.Context, path string, machine *Machine, kernel Kernel, setup wire.Setup) error {
	code, err := buildInit(ctx, machine.GOARCH)
	if err != nil {
		return err
	}
	records := []cpio.Record{
		cpio.Directory("dev", 0o755),
		// Without it init has no standard error to complain to.
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.StaticFile("init", string(code), 0o755),
	}
	if kernel.Modules != "" {
		loaded, err := modules(ctx, kernel.Modules, machine.Modules)
		if err != nil {
			return err
		}
		records = append(records, cpio.Directory("modules", 0o755))
		for _, m := range loaded {
			name := "modules/" + m.name + ".ko"
			records = append(records, cpio.StaticFile(name, string(m.code), 0o644))
			setup.Modules = append(setup.Modules, "/"+name)
		}
	}
	settings, err := json.Marshal(setup)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	records = append(records, cpio.StaticFile(strings.TrimPrefix(wire.Settings, "/"), string(settings), 0o644))

	var archive bytes.Buffer
	w := cpio.Newc.Writer(&archive)
	if err := cpio.WriteRecords(w, records); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	if err := os.WriteFile(path, archive.Bytes(), 0o644); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	return nil
}

// buildInit compiles the guest's init from this module's source. The program stays in the cache, where go sees whether it is up
// to date.
func buildInit(ctx context.Context, goarch string) ([]byte, error) {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOMOD: %w", err)
	}
	// Checkouts beside each other would otherwise build over and over.
	checkout := strings.ReplaceAll(filepath.Dir(strings.TrimSpace(string(module))), string(filepath.Separator), "%")
	dir, err := cacheDir("init", checkout, goarch)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	path := filepath.Join(dir, "init")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, initPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch,
		// Flags of the caller (race, tags) are for its own programs, and a checkout of another owner has no version to ask for.
		"GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s (run this inside Trapline's checkout): %w: %s", initPackage, err, bytes.TrimSpace(out))
	}
	code, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the guest's init: %w", err)
	}
	return code, nil
}
