// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Problem is one thing that is wrong with a directory.
type Problem struct {
	File   string `json:"file"`             // name within the directory
	Offset int64  `json:"offset"`           // where, in bytes; -1: the file as a whole
	Length int64  `json:"length,omitempty"` // of the damaged block in bytes, 0 if unknown
	Reason string `json:"reason"`
}

func (p Problem) String() string {
	switch {
	case p.Offset < 0:
		return fmt.Sprintf("%s: %s", p.File, p.Reason)
	case p.Length == 0:
		return fmt.Sprintf("%s: offset %d: %s", p.File, p.Offset, p.Reason)
	}
	return fmt.Sprintf("%s: offset %d, %d bytes: %s", p.File, p.Offset, p.Length, p.Reason)
}

// Report is the result of [Verify].
type Report struct {
	Dir      string    `json:"dir"`
	Complete bool      `json:"complete"` // inventory.img is there
	Summed   bool      `json:"summed"`   // there are checksums, and they were compared
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Problems []Problem `json:"problems"`
	// Parent is the report on the previous pre-dump, whose pages this one refers to.
	Parent *Report `json:"parent,omitempty"`
}

// OK tells whether nothing is wrong, here and in the parents.
func (r *Report) OK() bool {
	return len(r.Problems) == 0 && (r.Parent == nil || r.Parent.OK())
}

// Verify checks a directory and those of the pre-dumps below it. With checksums it finds every
// changed, missing or additional byte and image. Without, as in what CRIU wrote, it can only check that
// each image can be decoded and that they agree with each other; [Report.Summed] tells which. The
// error is about the check itself: a directory that can't be read, or a canceled context.
func Verify(ctx context.Context, dir string) (*Report, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("images directory: %w", err)
	}
	r := &Reader{path: dir, dir: d}
	defer r.Close()
	return r.verify(ctx)
}

// verifier collects what is found in one directory.
type verifier struct {
	r   *Reader
	rep *Report
}

func (v *verifier) problem(file string, off, length int64, format string, args ...any) {
	v.rep.Problems = append(v.rep.Problems, Problem{File: file, Offset: off, Length: length, Reason: fmt.Sprintf(format, args...)})
}

// wrong files an error of reading as a problem.
func (v *verifier) wrong(file string, err error) {
	if c, ok := errors.AsType[*CorruptError](err); ok {
		v.problem(c.File, c.Offset, 0, "%s", c.Reason)
		return
	}
	v.problem(file, -1, 0, "%v", err)
}

func (r *Reader) verify(ctx context.Context) (*Report, error) {
	v := &verifier{r: r, rep: &Report{Dir: r.path, Problems: []Problem{}}}
	names, err := r.list()
	if err != nil {
		return nil, err
	}
	if v.rep.Complete = r.Has(inventoryName); !v.rep.Complete {
		v.problem(inventoryName, -1, 0, "missing: a dump writes it last, so this one never finished")
	}
	for _, name := range names {
		if size, err := r.Size(name); err == nil {
			v.rep.Files++
			v.rep.Bytes += size
		}
	}
	if err := r.loadSums(); err != nil {
		v.wrong(SumsName, err)
	} else if r.sums != nil {
		v.rep.Summed = true
		want := r.sums
		r.IgnoreSums() // not once more when images are decoded
		if err := v.compare(ctx, want, names); err != nil {
			return nil, err
		}
	}
	// Where bytes differ from what was written there is no use in saying what they now look like.
	if !v.rep.Summed || len(v.rep.Problems) == 0 {
		if err := v.structure(ctx, names); err != nil {
			return nil, err
		}
	}
	return v.rep, v.parents(ctx)
}

func (v *verifier) parents(ctx context.Context) error {
	dir, path, err := v.r.openParent()
	if err != nil {
		v.wrong(parentName, err)
		return nil
	}
	if dir == nil {
		return nil
	}
	// Not through Open: an unfinished pre-dump is a finding here, not an obstacle.
	parent := &Reader{path: path, dir: dir, child: v.r, depth: v.r.depth + 1}
	defer parent.Close()
	v.rep.Parent, err = parent.verify(ctx)
	return err
}

// compare checks every file against its checksums.
func (v *verifier) compare(ctx context.Context, want sums, names []string) error {
	listed := make([]string, 0, len(want))
	for name := range want {
		listed = append(listed, name)
	}
	slices.Sort(listed)
	for _, name := range listed {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := v.compareFile(ctx, want[name]); err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, ok := want[name]; !ok && !unsummed(name) {
			v.problem(name, -1, 0, "not a file of this checkpoint: %s does not list it", SumsName)
		}
	}
	return nil
}

func (v *verifier) compareFile(ctx context.Context, want fileSum) error {
	name := want.Name
	if want.Skip {
		return nil
	}
	if want.Link {
		target, err := readlinkat(int(v.r.dir.Fd()), name)
		switch {
		case err != nil:
			v.problem(name, -1, 0, "missing, or no symbolic link any more: %v", err)
		case target != want.Target:
			v.problem(name, -1, 0, "points to %q, but did to %q", target, want.Target)
		}
		return nil
	}
	f, size, err := v.r.open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if name != inventoryName { // said already
			v.problem(name, -1, 0, "missing")
		}
		return nil
	case err != nil:
		v.wrong(name, err)
		return nil
	}
	defer f.Close()
	switch {
	case size < want.Size:
		v.problem(name, size, want.Size-size, "truncated: %d bytes, but %d were written", size, want.Size)
	case size > want.Size:
		v.problem(name, want.Size, size-want.Size, "too long: %d bytes, but %d were written", size, want.Size)
	}
	// Whole blocks that are left of a truncated file, and all that was written of one too long.
	check := want.Size
	if size < want.Size {
		check = size / BlockSize * BlockSize
	}
	got, err := sumBlocks(ctx, f, check, 0)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		v.problem(name, -1, 0, "can't be read: %v", err)
		return nil
	}
	for i, c := range got {
		if c != want.Blocks[i] {
			off := int64(i) * BlockSize
			v.problem(name, off, min(BlockSize, check-off), "changed: checksum %08x, but %08x was written", c, want.Blocks[i])
		}
	}
	return nil
}
