// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import "github.com/trapline/trapline/internal/vm"

const (
	noPrograms = "the guest has no programs for riscv64 but those that are built for it here: no interpreters and servers of Debian's"
	noCompiler = "the guest has no compiler, and its programs are static ones"
)

// notHere says which scenarios and tests a riscv64 guest with the small kernel can't serve, and why.
var notHere = map[string]string{
	"cpu/segments":           "x86 only: FS and GS bases",
	"cpu/amx":                "x86 only: AMX tiles",
	"memory/protection_keys": "x86 only: protection keys",
	"threads/1000":           "an emulated processor takes longer for a thousand threads than a test waits for an engine; 50 are tested",
	"inet/listen6":           "the small kernel has no IPv6",
	"program/python3":        noPrograms,
	"program/python3_wal":    noPrograms,
	"program/bash":           noPrograms,
	"program/perl":           noPrograms,
	"program/node":           noPrograms,
	"program/nginx":          noPrograms,
	"program/nginx_unix":     noPrograms,
	"program/redis":          noPrograms,
	"program/redis_unix":     noPrograms,
	"program/go_cgo":         noCompiler,
	"program/c++":            "there is no C++ compiler for riscv64 among the tools of this project",
	"TestE2EEngineMemory":    noCompiler + "; 256 MiB take an emulated processor too long",
	"crit x rss":             "go-criu 8.3 runs past the last map of a process unless the vDSO or a vsyscall page is the last",
}

func init() {
	if vm.GuestConfig() != "vector" {
		notHere["cpu/vector"] = "the small kernel has no vector extension; make stress has a guest that has it"
	}
}

// quickHere are scenarios for a short run here beside those that are short everywhere: what is done in another way on riscv64.
var quickHere = []string{
	"threads/robust", "interrupted/nanosleep", "interrupted/clock_nanosleep_abs", "interrupted/futex_timeout", "interrupted/sigsuspend", "interrupted/pselect",
	"signals/pending", "time/posix_timers", "time/itimers", "memory/protections", "memory/copy_on_write", "seccomp/filter", "seccomp/strict",
	"unix/rights", "pipe/fifo", "regular/deleted", "program/go_static",
}

// slowHere are scenarios and tests that are left out of a short run here: an emulated processor takes long for many processes, and
// for many runs.
var slowHere = []string{
	"tree/children", "TestE2EKillRandom", "TestE2EKillRestore", "TestE2EStages", "TestE2EOtherCPU", "TestE2EErrors", "TestE2ERestoreErrors",
	"TestE2EFileValidation", "TestE2ECrit",
}

// killStep is of how many stage boundaries a short run takes one.
const killStep = 17
