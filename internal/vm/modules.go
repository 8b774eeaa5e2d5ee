// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is a loadable module of a kernel, not compressed.
type module struct {
	name string
	code []byte
}

// modules returns the modules that are wanted and those that these need, in an order in which they can be loaded. What is
// built into the kernel is left out. Names are written with underscores.
//
// A kernel package has no modules.dep (depmod writes it when the package is installed), so the modules say themselves what
// they need: the section .modinfo has a string "depends=a,b".
func modules(ctx context.Context, dir string, wanted []string) ([]module, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, _, found := strings.Cut(entry.Name(), ".ko"); found && entry.Type().IsRegular() {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("modules of the guest's kernel: %w", err)
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("modules of the guest's kernel: %w", err)
	}
	compiledIn := map[string]bool{}
	for line := range strings.Lines(string(builtin)) {
		name := strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko")
		compiledIn[strings.ReplaceAll(name, "-", "_")] = true
	}

	var ordered []module
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		if seen[name] || compiledIn[name] {
			return nil
		}
		seen[name] = true
		path := files[name]
		if path == "" {
			return fmt.Errorf("the guest's kernel has no module %s below %s, and it is not built in", name, dir)
		}
		code, err := readModule(ctx, path)
		if err != nil {
			return err
		}
		needs, err := depends(code)
		if err != nil {
			return fmt.Errorf("module %s: %w", path, err)
		}
		for _, need := range needs {
			if err := add(need); err != nil {
				return fmt.Errorf("%w (needed by %s)", err, name)
			}
		}
		ordered = append(ordered, module{name: name, code: code})
		return nil
	}
	for _, name := range wanted {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// readModule reads a module, uncompressed.
func readModule(ctx context.Context, path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		code, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("module of the guest's kernel: %w", err)
		}
		return code, nil
	}
	code, err := exec.CommandContext(ctx, "xz", "-dc", path).Output()
	if err != nil {
		return nil, fmt.Errorf("unpack module %s with xz (Debian's xz-utils): %w", path, err)
	}
	return code, nil
}

// depends returns the modules that the module says it needs.
func depends(code []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(code))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var names []string
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		value, found := bytes.CutPrefix(entry, []byte("depends="))
		if !found {
			continue
		}
		for name := range strings.SplitSeq(string(value), ",") {
			if name != "" {
				names = append(names, strings.ReplaceAll(name, "-", "_"))
			}
		}
	}
	return names, nil
}
