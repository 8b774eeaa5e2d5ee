// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ThreadAnswers is what only the thread itself can tell.
type ThreadAnswers struct {
	// AltStack, its size and flags (SS_*): sigaltstack(2).
	AltStack, AltStackSize uint64
	AltStackFlags          uint32
	TidAddress             uint64 // PR_GET_TID_ADDRESS
	PdeathSig              uint32 // PR_GET_PDEATHSIG
	SecureBits             uint32 // PR_GET_SECUREBITS
}

// askSize is the buffer of the answers: stack_t, the address, the signal.
const askSize = 24 + 8 + 8

func (s *Session) readAnswers(buf Addr) (a ThreadAnswers, err error) {
	var b [askSize]byte
	if err := s.ReadMem(buf, b[:]); err != nil {
		return a, err
	}
	le := binary.NativeEndian
	a.AltStack, a.AltStackFlags, a.AltStackSize = le.Uint64(b[0:]), le.Uint32(b[8:]), le.Uint64(b[16:])
	a.TidAddress, a.PdeathSig = le.Uint64(b[24:]), le.Uint32(b[32:])
	return a, nil
}

// questions are the calls that answer, into buf and the last as its result.
func questions(buf Addr) []RemoteCall {
	return []RemoteCall{
		{Nr: unix.SYS_SIGALTSTACK, Args: [6]uint64{0, buf}},
		{Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_TID_ADDRESS, buf + 24}},
		{Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_PDEATHSIG, buf + 32}},
		{Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_SECUREBITS}},
	}
}

// answers reads what questions have brought.
func (s *Session) answers(t *Tracee, calls []RemoteCall, buf Addr) (a ThreadAnswers, err error) {
	var errs []error
	for _, c := range calls {
		errs = append(errs, c.Err)
	}
	if err := errors.Join(errs...); err != nil {
		return a, fmt.Errorf("task %d: asking: %w", t.Tid, err)
	}
	a, err = s.readAnswers(buf)
	a.SecureBits = uint32(calls[len(calls)-1].Result)
	return a, err
}
