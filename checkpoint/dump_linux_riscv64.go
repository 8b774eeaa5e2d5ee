// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/inject"
)

const (
	coreArch  = criu_core.CoreEntry_RISCV64
	fpuRegSet = 2 // NT_PRFPREG
)

func regsSupported(*inject.Regs) error {
	return fmt.Errorf("checkpoints of riscv64 processes are not there yet: %w", ErrNotSupported)
}

func regsPC(r *inject.Regs) uint64        { return r.Pc }
func setRegsPC(r *inject.Regs, pc uint64) { r.Pc = pc }

func putRegs(*criu_core.CoreEntry, *targetThread) error { return regsSupported(nil) }

func archTypes() []proto.Message { return nil }

func archQuestions(*answers) []question { return nil }

func lossyFPU(*targetThread) []byte { return nil }
