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
	"sync"
	"time"
)

// rawFile is a file that somebody else writes (the target, through the descriptor that it was given)
// and that we read back for its checksums.
type rawFile struct {
	name string
	f    *os.File // a description of our own, so that offsets don't interfere
	bufs buffers

	stop chan struct{} // nil unless a follower runs
	idle chan struct{} // closed by the follower when it ends
	err  error         // of the follower; valid after idle is closed

	blocks []uint32 // of the whole blocks read so far; the follower's until idle is closed
}

// buffers lends out the few blocks that all files of a Writer are read through: there may be as many
// files as processes, and only so much memory.
type buffers chan []byte

// maxBuffers is how many goroutines read at a time.
const maxBuffers = 2

func newBuffers() buffers {
	b := make(buffers, maxBuffers)
	for range maxBuffers {
		b <- nil // made when it is needed
	}
	return b
}

func (b buffers) get(size int64) []byte {
	buf := <-b
	if int64(len(buf)) < size {
		buf = make([]byte, size)
	}
	return buf
}

func (b buffers) put(buf []byte) { b <- buf }

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
	buf := r.bufs.get(BlockSize)[:BlockSize]
	defer r.bufs.put(buf)
	if _, err := r.f.ReadAt(buf, off); err != nil {
		return err
	}
	r.blocks = append(r.blocks, crc32.Checksum(buf, castagnoli))
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
	blocks, err := sumBlocks(context.Background(), r.bufs, r.f, fi.Size(), int64(len(r.blocks)))
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

// sumBlocks reads a file of size bytes from block first to its end and returns a checksum per
// block. Long files are read by as many goroutines as there are buffers. The caller answers for
// size: 4 bytes are allocated per block.
func sumBlocks(ctx context.Context, bufs buffers, f io.ReaderAt, size, first int64) ([]uint32, error) {
	n := blocksOf(size) - first
	if n <= 0 {
		return nil, nil
	}
	blocks := make([]uint32, n)
	one := func(buf []byte, i int64) error {
		off := (first + i) * BlockSize
		b := buf[:min(BlockSize, size-off)]
		if k, err := f.ReadAt(b, off); k < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("file shrank while it was read: %w", io.ErrUnexpectedEOF)
			}
			return err
		}
		blocks[i] = crc32.Checksum(b, castagnoli)
		return nil
	}
	workers := int64(min(cap(bufs), runtime.GOMAXPROCS(0)))
	if n < 4 {
		workers = 1
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			buf := bufs.get(min(BlockSize, size))
			defer bufs.put(buf)
			for i := w; i < n; i += workers {
				if err := ctx.Err(); err != nil {
					errs[w] = err
					return
				}
				if err := one(buf, i); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return blocks, errors.Join(errs...)
}
