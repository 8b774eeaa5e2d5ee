// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"io"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	ipc_desc "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-desc"
	ipc_msg "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-msg"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pidfd"
	"google.golang.org/protobuf/proto"
)

// TestForeignKinds reads what Trapline does not dump itself: queues of SysV messages, whose messages and data alternate behind
// their entry, and pidfds, which CRIU 4.1 keeps in files.img like any other descriptor.
func TestForeignKinds(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := w.Append("ipcns-msg-9.img")
	check(err)
	check(s.Write(&ipc_msg.IpcMsgEntry{
		Desc: &ipc_desc.IpcDescEntry{
			Key: proto.Uint32(1), Uid: proto.Uint32(0), Gid: proto.Uint32(0), Cuid: proto.Uint32(0), Cgid: proto.Uint32(0),
			Mode: proto.Uint32(0o600), Id: proto.Uint32(2),
		},
		Qbytes: proto.Uint32(5), Qnum: proto.Uint32(1),
	}))
	message, err := appendEntry(nil, &ipc_msg.IpcMsg{Mtype: proto.Uint64(3), Msize: proto.Uint32(5)})
	check(err)
	message = append(message, "hello\x00\x00\x00"...) // padded to 8 bytes
	check(s.Payload(message))
	check(s.Close())
	owner := &fown.FownEntry{Uid: proto.Uint32(0), Euid: proto.Uint32(0), Signum: proto.Uint32(0), PidType: proto.Uint32(0), Pid: proto.Uint32(0)}
	check(w.Put("files.img", &fdinfo.FileEntry{
		Type: fdinfo.FdTypes_PIDFD.Enum(), Id: proto.Uint32(1),
		Pidfd: &pidfd.PidfdEntry{Id: proto.Uint32(1), Ino: proto.Uint32(3), Nspid: proto.Int32(7), Flags: proto.Uint32(0), Fown: owner},
	}))
	check(w.Finish(testInventory()))

	if rep := verify(t, dir); !rep.OK() {
		t.Errorf("%+v", rep.Problems)
	}
	if _, err := Describe(dir); err != nil {
		t.Error(err)
	}
	r, err := Open(dir)
	check(err)
	defer r.Close()
	var got []byte
	check(r.Each("ipcns-msg-9.img", nil, func(m proto.Message, payload io.Reader) error {
		if q := m.(*ipc_msg.IpcMsgEntry); q.GetQnum() != 1 {
			t.Errorf("queue %v", q)
		}
		var err error
		got, err = io.ReadAll(payload)
		return err
	}))
	if !bytes.Equal(got, message) {
		t.Errorf("messages %q, want %q", got, message)
	}
}
