// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A reportFile is where a report goes. It is opened before the operation, which can't be had a second time, and what was in the file stays
// there until the report is whole.
type reportFile struct {
	name string
	file *os.File
	temp bool // file has another name, and gets this one at the end
}

// openReport opens a file for a report; nil without a name.
func openReport(option, name string) (*reportFile, error) {
	if name == "" {
		return nil, nil
	}
	if name == "-" {
		return &reportFile{name: "standard output", file: os.Stdout}, nil
	}
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() { // a device, a pipe
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", option, err)
		}
		return &reportFile{name: name, file: file}, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", option, name, cause(err))
	}
	mode := fs.FileMode(0o644)
	if info != nil {
		mode = info.Mode().Perm()
	}
	if err := file.Chmod(mode); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", option, err), file.Close(), os.Remove(file.Name()))
	}
	return &reportFile{name: name, file: file, temp: true}, nil
}

// cause is what is wrong, without the name of a file that nobody has asked for.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// write writes the report and closes the file.
func (f *reportFile) write(report func(io.Writer) error) error {
	if f == nil || f.file == nil {
		return nil
	}
	err := errors.Join(report(f.file), f.file.Close())
	temp := f.file.Name()
	f.file = nil
	switch {
	case err != nil && f.temp:
		err = errors.Join(err, os.Remove(temp))
	case f.temp:
		err = os.Rename(temp, f.name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.name, err)
	}
	return nil
}

// discard closes the file; what was there before stays.
func (f *reportFile) discard() {
	if f == nil || f.file == nil {
		return
	}
	_ = f.file.Close()
	if f.temp {
		_ = os.Remove(f.file.Name())
	}
	f.file = nil
}
