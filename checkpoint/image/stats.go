// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	"golang.org/x/sys/unix"
)

// The files with times and counts: CRIU's, and beside each one of ours with what CRIU's has no field for, the stages.
const (
	StatsDump     = "stats-dump"
	StatsRestore  = "stats-restore"
	StagesDump    = "trapline-stages-dump.json"
	StagesRestore = "trapline-stages-restore.json"
)

func isStats(name string) bool {
	switch name {
	case StatsDump, StatsRestore, StagesDump, StagesRestore:
		return true
	}
	return false
}

// WarmStats makes ready what the first writing of statistics takes most of its time for. stages is of the type that will be written.
func WarmStats(stages any) { _, _, _ = statsFiles(&stats.StatsEntry{}, stages) }

// statsFiles gives the two files of a dump, or of a restore.
func statsFiles(e *stats.StatsEntry, stages any) (names [2]string, data [2][]byte, err error) {
	names = [2]string{StatsRestore, StagesRestore}
	if e.GetDump() != nil {
		names = [2]string{StatsDump, StagesDump}
	}
	k, err := imageKind(names[0])
	if err != nil {
		return names, data, err
	}
	if data[0], err = appendEntry(k.header(), e); err != nil {
		return names, data, err
	}
	data[1], err = json.Marshal(stages)
	data[1] = append(data[1], '\n')
	return names, data, err
}

// Stats writes stats-dump and beside it the stages as JSON into the images directory. Unlike other images it may be
// called after Finish, since that is when the times are known; the checksums on disk are then written anew. Who is killed
// meanwhile leaves a checkpoint that is whole.
func (w *Writer) Stats(e *stats.StatsEntry, stages any) error {
	names, data, err := statsFiles(e, stages)
	if err != nil {
		return w.fail(names[0], err)
	}
	for i, name := range names {
		if err := w.replace(name, name+tempSuffix, data[i]); err != nil {
			return err
		}
		w.record(sumBytes(name, data[i]))
	}
	return w.late()
}

// late writes the checksums again if they are on disk already.
func (w *Writer) late() error {
	w.mu.Lock()
	late := w.finished
	w.mu.Unlock()
	if late {
		return w.writeSums()
	}
	return nil
}

// WriteStats writes the statistics of a dump or restore and beside them its stages as JSON into a directory that need not
// be one of images. They belong to no checkpoint and have no checksum there; those of an earlier one are replaced.
func WriteStats(dir string, e *stats.StatsEntry, stages any) error {
	names, data, err := statsFiles(e, stages)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(dir, names[0]), err)
	}
	for i, name := range names {
		// The directory may be another user's: a link there leads nowhere.
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK, filePerm)
		if err != nil {
			return err
		}
		_, err = f.Write(data[i])
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(path+tempSuffix, path)
		}
		if err != nil {
			return errors.Join(err, os.Remove(path+tempSuffix))
		}
	}
	return nil
}
