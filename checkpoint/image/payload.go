// SPDX-License-Identifier: Apache-2.0

package image

import (
	bpfmap_data "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-data"
	ghost_file "github.com/checkpoint-restore/go-criu/v8/crit/images/ghost-file"
	ipc_msg "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-msg"
	ipc_sem "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-sem"
	ipc_shm "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-shm"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	sk_packet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-packet"
	tcp_stream "github.com/checkpoint-restore/go-criu/v8/crit/images/tcp-stream"
	"google.golang.org/protobuf/proto"
)

// PayloadRest is what [Payload] returns for an entry whose payload is all that follows in the file.
const PayloadRest = -1

// Payload returns how many raw bytes follow an entry's message in its image: 0 for most kinds,
// [PayloadRest] for the contents of a deleted file that is kept in one piece.
//
//	pipes-data, fifo-data   what is in the pipe
//	sk-queues               one queued packet or piece of stream
//	tcp-stream              receive queue, then send queue
//	ghost-file              contents (rest of the file), or per chunk when the entry says chunks
//	bpfmap-data             keys, then values
//	ipcns-sem               u16 per semaphore, padded to 8 bytes
//	ipcns-shm               contents, padded to 4 bytes, unless they are in a pagemap
func Payload(m proto.Message) int64 {
	switch m := m.(type) {
	case *pipe_data.PipeDataEntry:
		return int64(m.GetBytes())
	case *sk_packet.SkPacketEntry:
		return int64(m.GetLength())
	case *tcp_stream.TcpStreamEntry:
		return int64(m.GetInqLen()) + int64(m.GetOutqLen())
	case *ghost_file.GhostFileEntry:
		if m.GetChunks() {
			return 0
		}
		return PayloadRest
	case *ghost_file.GhostChunkEntry:
		return clampLen(m.GetLen())
	case *bpfmap_data.BpfmapDataEntry:
		return int64(m.GetKeysBytes()) + int64(m.GetValuesBytes())
	case *ipc_sem.IpcSemEntry:
		return roundUp(int64(m.GetNsems())*2, 8)
	case *ipc_shm.IpcShmEntry:
		if m.GetInPagemaps() {
			return 0
		}
		return roundUp(clampLen(m.GetSize()), 4)
	case *ipc_msg.IpcMsgEntry:
		// Messages and their data alternate: not a plain run of bytes. Nothing reads them yet, so
		// the rest of the file stands for them.
		if m.GetQnum() != 0 {
			return PayloadRest
		}
	}
	return 0
}

// clampLen keeps a length from an image within what an int64 offset can take; a length that large
// exceeds any file and is rejected where it is compared with the file's size.
func clampLen(n uint64) int64 { return int64(min(n, 1<<62)) }

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
