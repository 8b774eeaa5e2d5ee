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
	"slices"
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
		if whole := (fi.Size() - off) / BlockSize; whole > 0 {
			if r.blocks, r.err = appendSums(r.blocks, r.f, off, min(whole, windowBlocks)*BlockSize); r.err != nil {
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
	if n <= windowBlocks {
		workers = 1
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * windowBlocks; i < n && errs[w] == nil; i += workers * windowBlocks {
				if errs[w] = ctx.Err(); errs[w] == nil {
					off := (first + i) * BlockSize
					_, errs[w] = appendSums(blocks[i:i], f, off, min(windowBlocks*BlockSize, size-off))
				}
			}
		})
	}
	wg.Wait()
	return blocks, errors.Join(errs...)
}

// windowBlocks is how many blocks of a file are looked at at once: making a mapping and giving it back costs more than a block is
// worth, and what is mapped must not be much more than what the follower waits for.
const windowBlocks = 4

// appendSums appends the checksum of each block of a part of a file, which begins with a block. It looks at the file through a
// mapping: to copy it first takes longer than to sum it.
func appendSums(sums []uint32, f *os.File, off, size int64) (all []uint32, err error) {
	m, err := unix.Mmap(int(f.Fd()), off, int(size), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return readSums(sums, f, off, size) // not every file system can
	}
	defer func() { _ = unix.Munmap(m) }()
	// What can't be read, or is cut off meanwhile, is a SIGBUS: reading it says what is the matter.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			all, err = readSums(sums, f, off, size)
		}
	}()
	all = sums
	for block := range slices.Chunk(m, BlockSize) {
		all = append(all, crc32.Checksum(block, castagnoli()))
	}
	return all, nil
}

// readSums does the same by reading.
func readSums(sums []uint32, f io.ReaderAt, off, size int64) ([]uint32, error) {
	for ; size > 0; off, size = off+BlockSize, size-BlockSize {
		sum, err := sumRead(f, off, min(BlockSize, size))
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum)
	}
	return sums, nil
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
