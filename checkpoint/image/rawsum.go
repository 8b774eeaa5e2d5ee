// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// rawFile is a file that somebody else writes (the target, through the descriptor that it was given)
// and that we read back for its checksums.
type rawFile struct {
	name string
	f    *os.File // a description of our own, so that offsets don't interfere

	stop chan struct{} // nil unless a follower runs
	idle chan struct{} // closed by the follower when it ends
	err  error         // of the follower; valid after idle is closed

	blocks []uint32 // of the whole blocks read so far; the follower's until idle is closed
}

// Pauses of a follower that has caught up with its file, doubled while the file does not grow. A
// block takes the writer some 200 µs.
const (
	followPauseMin = 500 * time.Microsecond
	followPauseMax = 32 * time.Millisecond
)

// follow sums whole blocks behind a file's end until stop is closed. It is right only for files
// that are written in order: a byte before the end must be final.
func (r *rawFile) follow() {
	defer close(r.idle)
	pause := followPauseMin
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		fi, err := r.f.Stat()
		if err != nil {
			r.err = err
			return
		}
		off := int64(len(r.blocks)) * BlockSize
		if fi.Size() >= off+BlockSize {
			if err := r.sumBlock(off); err != nil {
				r.err = err
				return
			}
			pause = followPauseMin
			select {
			case <-r.stop:
				return
			default:
				continue
			}
		}
		// The size of a file is not something one can wait for without an inotify event per write.
		timer.Reset(pause)
		select {
		case <-r.stop:
			return
		case <-timer.C:
		}
		pause = min(2*pause, followPauseMax)
	}
}

func (r *rawFile) sumBlock(off int64) error {
	sum, err := sumRange(r.f, off, BlockSize)
	if err != nil {
		return err
	}
	r.blocks = append(r.blocks, sum)
	return nil
}

// finish sums what the follower, if any, has not, and closes our descriptor.
func (r *rawFile) finish() (fileSum, error) {
	defer r.close()
	if r.err != nil {
		return fileSum{}, r.err
	}
	fi, err := r.f.Stat()
	if err != nil {
		return fileSum{}, err
	}
	blocks, err := sumBlocks(context.Background(), r.f, fi.Size(), int64(len(r.blocks)))
	if err != nil {
		return fileSum{}, err
	}
	return fileSum{Name: r.name, Size: fi.Size(), Blocks: append(r.blocks, blocks...)}, nil
}

// close ends the follower and gives the descriptor back. It may be called twice.
func (r *rawFile) close() {
	r.settle()
	_ = r.f.Close() // read only
}

// settle ends the follower.
func (r *rawFile) settle() {
	if r.stop != nil {
		close(r.stop)
		<-r.idle
		r.stop = nil
	}
}

// maxWorkers is how many goroutines sum a file at a time: more only wait for the memory.
const maxWorkers = 2

// sumBlocks reads a file of size bytes from block first to its end and returns a checksum per block. Long files are read by several
// goroutines. The caller answers for size: 4 bytes are allocated per block.
func sumBlocks(ctx context.Context, f *os.File, size, first int64) ([]uint32, error) {
	n := blocksOf(size) - first
	if n <= 0 {
		return nil, nil
	}
	blocks := make([]uint32, n)
	workers := int64(min(maxWorkers, runtime.GOMAXPROCS(0)))
	if n < 4 {
		workers = 1
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				if errs[w] = ctx.Err(); errs[w] == nil {
					off := (first + i) * BlockSize
					blocks[i], errs[w] = sumRange(f, off, min(BlockSize, size-off))
				}
			}
		})
	}
	wg.Wait()
	return blocks, errors.Join(errs...)
}

// sumRange is the checksum of a part of a file. It looks at the file through a mapping: to copy it first takes longer than to sum it.
func sumRange(f *os.File, off, size int64) (sum uint32, err error) {
	m, err := unix.Mmap(int(f.Fd()), off, int(size), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return sumRead(f, off, size) // not every file system can
	}
	defer func() { _ = unix.Munmap(m) }()
	// What can't be read, or is cut off meanwhile, is a SIGBUS: reading it says what is the matter.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			sum, err = sumRead(f, off, size)
		}
	}()
	return crc32.Checksum(m, castagnoli()), nil
}

func sumRead(f io.ReaderAt, off, size int64) (sum uint32, err error) {
	buf := make([]byte, min(size, 64<<10))
	for size > 0 {
		b := buf[:min(size, int64(len(buf)))]
		if n, err := f.ReadAt(b, off); n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("file shrank while it was read: %w", io.ErrUnexpectedEOF)
			}
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli(), b)
		off += int64(len(b))
		size -= int64(len(b))
	}
	return sum, nil
}
