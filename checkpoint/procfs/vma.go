// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// VMA is one mapping of an address space: a line of /proc/PID/maps, and with smaps what follows it.
type VMA struct {
	Start, End uint64 // addresses, End exclusive
	Offset     uint64 // in the file, bytes; of anonymous memory meaningless
	Inode      uint64 // 0 for anonymous memory
	// Dev is the file's device as unix.Mkdev makes it. It is the superblock's and may differ from what
	// stat(2) gives on btrfs and overlayfs.
	Dev  uint64
	Prot int // PROT_READ | PROT_WRITE | PROT_EXEC
	Kind Kind
	// Shared: MAP_SHARED. A shared mapping of a file opened read-only reads as shared too.
	Shared bool
	// Deleted: the path ended in " (deleted)". See [CutDeleted] for how far to trust it.
	Deleted bool
	// Path is the file's path for a mapping with one, without " (deleted)" and with escapes undone. The
	// escaping of maps is ambiguous (a backslash in a name is not escaped): for a path with a newline or
	// backslash ask [Proc.MapLink].
	Path string
	// Name is the name given with prctl(PR_SET_VMA_ANON_NAME), for KindAnonNamed and KindAnonShmemNamed; for
	// KindMemfd the name given to memfd_create.
	Name string

	// What follows is from smaps and zero after [Proc.Maps].

	Flags VMFlags
	// Sizes in bytes. Anonymous counts pages that are no longer the file's in a private file mapping too.
	PageSize, Rss, Anonymous, AnonHuge, ShmemPMD, Swap, Hugetlb, Locked uint64
	// ProtectionKey is the x86 memory protection key (pkeys(7)), 0 as a rule.
	ProtectionKey int
}

// Len is the size of the mapping in bytes.
func (v *VMA) Len() uint64 { return v.End - v.Start }

// Private says the opposite of Shared.
func (v *VMA) Private() bool { return !v.Shared }

// Kind says what a mapping is of.
type Kind uint8

// Kinds of mappings. The text of maps alone can't tell a deleted file that its owner called "/memfd:x" or "/SYSV00000000"
// from the kernel's own; compare [VMA.Dev] with [ShmemDev] where it matters.
const (
	KindAnon           Kind = iota // private anonymous
	KindFile                       // a file of any filesystem
	KindHeap                       // [heap]: the brk area
	KindStack                      // [stack] of the first thread
	KindVDSO                       // [vdso]
	KindVVar                       // [vvar]
	KindVVarVClock                 // [vvar_vclock], Linux 6.13
	KindVSyscall                   // [vsyscall]: in the kernel's half of the address space
	KindUprobes                    // [uprobes]: slots of uprobes, placed by the kernel
	KindSpecial                    // any other name in brackets
	KindAnonNamed                  // [anon:NAME]
	KindAnonShmem                  // shared anonymous: /dev/zero (deleted)
	KindAnonShmemNamed             // [anon_shmem:NAME]
	KindSysV                       // SysV shared memory: the inode is the shmid
	KindMemfd                      // memfd_create
	KindAnonHuge                   // MAP_HUGETLB without a file: /anon_hugepage (deleted), private or shared
	KindAnonInode                  // anon_inode:[NAME]: perf rings, io_uring, KVM …; Path is that text
	KindSocket                     // a packet socket's ring; Path is socket:[INODE]
	KindAIO                        // the ring of io_setup(2): /[aio] (deleted)
)

var kindNames = [...]string{
	"anon", "file", "heap", "stack", "vdso", "vvar", "vvar_vclock", "vsyscall", "uprobes", "special",
	"anon-named", "anon-shmem", "anon-shmem-named", "sysv", "memfd", "anon-huge", "anon-inode", "socket", "aio",
}

// String is a short word for messages.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// HasFile says that an entry of map_files leads to the mapping's object, be it a file, a memfd or shared memory.
func (k Kind) HasFile() bool {
	switch k {
	case KindFile, KindAnonShmem, KindAnonShmemNamed, KindSysV, KindMemfd, KindAnonHuge, KindAnonInode, KindSocket, KindAIO:
		return true
	}
	return false
}

// classify sets Kind, Path, Name and Deleted from the last column of a line of maps.
func (v *VMA) classify(path string) {
	v.Kind, v.Path, v.Name, v.Deleted = KindAnon, "", "", false
	if path == "" {
		if v.Inode != 0 || v.Dev != 0 {
			v.Kind = KindFile
		}
		return
	}
	if path[0] == '[' {
		v.classifySpecial(path)
		return
	}
	v.Kind = KindFile
	v.Path, v.Deleted = CutDeleted(path)
	if strings.HasPrefix(path, "anon_inode:") {
		v.Kind = KindAnonInode
		return
	}
	if strings.HasPrefix(path, "socket:[") {
		v.Kind = KindSocket
		return
	}
	// The kernel's own mounts have no block device.
	if !v.Deleted || unix.Major(v.Dev) != 0 {
		return
	}
	switch {
	case v.Path == "/dev/zero":
		v.Kind = KindAnonShmem
	case strings.HasPrefix(v.Path, "/memfd:"):
		v.Kind, v.Name = KindMemfd, v.Path[len("/memfd:"):]
	case isSysVName(v.Path):
		v.Kind = KindSysV
	case v.Path == "/anon_hugepage":
		v.Kind = KindAnonHuge
	case v.Path == "/[aio]":
		v.Kind = KindAIO
	}
}

func (v *VMA) classifySpecial(path string) {
	switch path {
	case "[heap]":
		v.Kind = KindHeap
	case "[stack]":
		v.Kind = KindStack
	case "[vdso]":
		v.Kind = KindVDSO
	case "[vvar]":
		v.Kind = KindVVar
	case "[vvar_vclock]":
		v.Kind = KindVVarVClock
	case "[vsyscall]":
		v.Kind = KindVSyscall
	case "[uprobes]":
		v.Kind = KindUprobes
	default:
		// A name may hold anything printable but \ ` $ [ ], so the last bracket ends it.
		name, ok := strings.CutSuffix(path, "]")
		switch {
		case ok && strings.HasPrefix(name, "[anon:"):
			v.Kind, v.Name = KindAnonNamed, name[len("[anon:"):]
		case ok && strings.HasPrefix(name, "[anon_shmem:"):
			v.Kind, v.Name = KindAnonShmemNamed, name[len("[anon_shmem:"):]
		default:
			v.Kind, v.Path = KindSpecial, path
		}
	}
}

// isSysVName says whether a path is /SYSV and a key of eight hexadecimal digits.
func isSysVName(path string) bool {
	key, ok := strings.CutPrefix(path, "/SYSV")
	if !ok || len(key) != 8 {
		return false
	}
	for i := 0; i < len(key); i++ {
		if c := key[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// VMFlags are the bits that smaps prints as two-letter codes in its VmFlags line. The numbers are this package's
// own: the kernel's change between versions and architectures.
type VMFlags uint64

// The flags, with the kernel's name of each.
const (
	VMRead        VMFlags = 1 << iota // rd VM_READ
	VMWrite                           // wr VM_WRITE
	VMExec                            // ex VM_EXEC
	VMShared                          // sh VM_SHARED
	VMMayRead                         // mr VM_MAYREAD
	VMMayWrite                        // mw VM_MAYWRITE
	VMMayExec                         // me VM_MAYEXEC
	VMMayShare                        // ms VM_MAYSHARE: a shared mapping, also of a read-only file
	VMGrowsDown                       // gd VM_GROWSDOWN
	VMPFNMap                          // pf VM_PFNMAP: of a device, without struct pages
	VMLocked                          // lo VM_LOCKED
	VMIO                              // io VM_IO
	VMSeqRead                         // sr VM_SEQ_READ: MADV_SEQUENTIAL
	VMRandRead                        // rr VM_RAND_READ: MADV_RANDOM
	VMDontCopy                        // dc VM_DONTCOPY: MADV_DONTFORK
	VMDontExpand                      // de VM_DONTEXPAND
	VMAccount                         // ac VM_ACCOUNT
	VMNoReserve                       // nr VM_NORESERVE
	VMHugeTLB                         // ht VM_HUGETLB
	VMSync                            // sf VM_SYNC: MAP_SYNC
	VMArch1                           // ar VM_ARCH_1
	VMWipeOnFork                      // wf VM_WIPEONFORK
	VMDontDump                        // dd VM_DONTDUMP
	VMSoftDirty                       // sd VM_SOFTDIRTY
	VMMixedMap                        // mm VM_MIXEDMAP
	VMHugePage                        // hg VM_HUGEPAGE: MADV_HUGEPAGE
	VMNoHugePage                      // nh VM_NOHUGEPAGE: MADV_NOHUGEPAGE
	VMMergeable                       // mg VM_MERGEABLE: MADV_MERGEABLE (KSM)
	VMBTI                             // bt arm64
	VMMTE                             // mt arm64
	VMUffdMissing                     // um userfaultfd, missing pages
	VMUffdWP                          // uw userfaultfd, write protection
	VMUffdMinor                       // ui userfaultfd, minor faults
	VMShadowStack                     // ss VM_SHADOW_STACK
	VMSealed                          // sl VM_SEALED: mseal(2)
	VMLockOnFault                     // lf VM_LOCKONFAULT: MLOCK_ONFAULT
	VMDroppable                       // dp VM_DROPPABLE: MAP_DROPPABLE
	VMMaybeGuard                      // gu VM_MAYBE_GUARD: may hold guard pages, Linux 6.19
	VMOther                           // a code that this package does not know
)

// vmCodes holds the codes in the order of the constants.
const vmCodes = "rdwrexshmrmwmemsgdpfloiosrrrdcdeacnrhtsfarwfddsdmmhgnhmgbtmtumuwuisssllfdpgu"

// vmFlagOf maps the two letters, as a number, to the flag.
var vmFlagOf = func() (table [26 * 26]VMFlags) {
	const codes = vmCodes
	for i := 0; i+1 < len(codes); i += 2 {
		table[int(codes[i]-'a')*26+int(codes[i+1]-'a')] = 1 << (i / 2)
	}
	return table
}()

// String gives the codes as the kernel prints them.
func (f VMFlags) String() string {
	const codes = vmCodes
	var s strings.Builder
	for i := 0; i+1 < len(codes); i += 2 {
		if f&(1<<(i/2)) != 0 {
			if s.Len() > 0 {
				s.WriteByte(' ')
			}
			s.WriteString(codes[i : i+2])
		}
	}
	if f&VMOther != 0 {
		s.WriteString(" ??")
	}
	return s.String()
}

// parseVMFlags parses what follows "VmFlags:".
func parseVMFlags(b []byte) (flags VMFlags) {
	for {
		for len(b) > 0 && b[0] == ' ' {
			b = b[1:]
		}
		if len(b) == 0 {
			return flags
		}
		n := 0
		for n < len(b) && b[n] != ' ' {
			n++
		}
		flag := VMOther
		if n == 2 && 'a' <= b[0] && b[0] <= 'z' && 'a' <= b[1] && b[1] <= 'z' {
			if f := vmFlagOf[int(b[0]-'a')*26+int(b[1]-'a')]; f != 0 {
				flag = f
			}
		}
		flags |= flag
		b = b[n:]
	}
}
