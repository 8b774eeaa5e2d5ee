// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"github.com/trapline/trapline/checkpoint/stage"
)

// ErrNotSupported is wrapped by every error about something that this version, this architecture or this
// kernel can't do. The text around it names the process, the object and what to do about it.
var ErrNotSupported = errors.New("not supported")

// An Action is a moment of a dump or a restore at which the caller may step in, under CRIU's names
// (criu(8), --action-script).
type Action string

// The moments, in the order in which they come.
const (
	ActionPreDump             Action = "pre-dump"              // before anything is stopped
	ActionNetworkLock         Action = "network-lock"          // the tree is stopped, only if it has TCP connections to carry
	ActionNetworkUnlock       Action = "network-unlock"        // they may talk again
	ActionPostDump            Action = "post-dump"             // images are complete, the tree is still stopped
	ActionPreRestore          Action = "pre-restore"           // before anything is created
	ActionSetupNamespaces     Action = "setup-namespaces"      // the tasks have been created, nothing is in them yet
	ActionPostSetupNamespaces Action = "post-setup-namespaces" // directly after it: namespaces are not carried yet
	ActionPostRestore         Action = "post-restore"          // all is restored, nothing runs yet; an error undoes the restore
	ActionPreResume           Action = "pre-resume"            // directly before the tasks run
	ActionPostResume          Action = "post-resume"           // the tasks run; an error is only logged
)

// A Hook is called at each [Action] with the PID of the root task as the engine sees it, 0 where there is
// none yet. An error of it fails the dump or restore, except at ActionPostResume. The engine waits for it,
// so what is stopped stays stopped that long. It is called on the engine's thread: it must not block on the
// tree.
type Hook func(ctx context.Context, at Action, root int) error

// InheritFD says that a descriptor of the engine takes the place of an object of the images.
type InheritFD struct {
	FD       int    // number in the engine's own table; the engine duplicates it and does not close it
	Resource string // criu(8), --inherit-fd: "pipe:[inode]", "socket:[inode]", "path/to/file"
}

// DefaultGhostLimit is the largest deleted file, in bytes, whose contents go into an image if the caller sets no
// limit: CRIU's own default.
const DefaultGhostLimit = 1 << 20

// fileSize is the value of FileValidation with which files are compared by their size only.
const fileSize = "filesize"

// DefaultTimeout is how long the tasks of a tree may take to stop: CRIU's own default.
const DefaultTimeout = 10 * time.Second

// DumpOptions says how to dump. The zero value of every field is its default; only ImagesDir must be set.
// Names and meanings are those of criu-dump's flags.
type DumpOptions struct {
	// ImagesDir gets the images. It must exist, be writable and hold no complete checkpoint.
	ImagesDir string

	// Overwrite removes a complete checkpoint in ImagesDir, as CRIU does, before anything is stopped.
	Overwrite bool

	// WorkDir gets stats-dump and the stages as JSON; empty means ImagesDir.
	WorkDir string

	// LeaveRunning lets the tree run on after the dump; LeaveStopped leaves it stopped by SIGSTOP. With neither,
	// the tree is killed once its images are complete. LeaveStopped wins.
	LeaveRunning, LeaveStopped bool

	// ShellJob allows a root task that does not lead its session. Its session is not carried: see [RestoreOptions].
	ShellJob bool

	// TCPEstablished carries established TCP connections over; TCPClose records them as closed. With neither,
	// a connection is refused.
	TCPEstablished, TCPClose bool

	// SkipInFlight leaves out connections that a listening socket has not accepted yet instead of refusing them.
	SkipInFlight bool

	// ExtUnixSk allows unix sockets whose peer is outside of the tree.
	ExtUnixSk bool

	// FileLocks carries file locks over. With it unset a lock is refused.
	FileLocks bool

	// LinkRemap allows temporary hard links to files that have lost the name by which they were opened.
	LinkRemap bool

	// EvasiveDevices allows any path to a device whose own path is gone.
	EvasiveDevices bool

	// GhostLimit is the largest deleted file in bytes whose contents are stored; 0 means [DefaultGhostLimit].
	GhostLimit int64

	// External lists objects that are not dumped but replaced on restore, as typed by the user. Only "unix[INODE]" is
	// possible yet: a unix socket outside of the tree that one inside is connected to. All others are refused.
	External []string

	// ManageCgroups is CRIU's mode ("none", "props", "soft", "full", "strict", "ignore"); empty means that cgroups
	// are left out of the images.
	ManageCgroups string

	// CPUCap is CRIU's list of CPU capabilities to record ("cpu", "fpu", "ins", "all", "none", with ^ to leave one
	// out), or to compare on restore. "none" records nothing and restores on any CPU; empty means fpu and ins.
	CPUCap []string

	// FileValidation is "filesize" or "buildid"; empty means buildid as in CRIU.
	FileValidation string

	// PrevImagesDir is the directory of the dump before, relative to ImagesDir; TrackMem starts change tracking.
	PrevImagesDir string
	TrackMem      bool

	// Timeout limits how long the tasks may take to stop; 0 means [DefaultTimeout].
	Timeout time.Duration

	// Hook, if set, is called at each [Action].
	Hook Hook

	// Timeline gets the stages; nil costs nothing.
	Timeline *stage.Timeline

	// Log gets messages; nil is silent.
	Log *slog.Logger

	// Progress, if set, is called from time to time with the bytes of memory written so far and the bytes to
	// write. It must return quickly: the tree is stopped while it runs. It is called from one goroutine at a time.
	Progress func(done, total int64)
}

// DumpResult says what a dump did.
type DumpResult struct {
	Frozen    time.Duration // from the first stopped task to the last one let go or killed
	Processes int           // tasks with a PID of their own, zombies included
	Threads   int           // threads seized, in all processes
	Pages     int64         // pages written to the images
	Bytes     int64         // bytes of all image files
}

// RestoreOptions says how to restore. The zero value of every field is its default; only ImagesDir must be set.
// Names and meanings are those of criu-restore's flags.
type RestoreOptions struct {
	// ImagesDir holds the images.
	ImagesDir string

	// WorkDir gets stats-restore and the stages as JSON; empty means ImagesDir. It may be read-only: they are left out then.
	WorkDir string

	// Detach means that nobody will wait for the root task. It still is a child of the engine (or, with Sibling, of
	// the engine's parent) until the engine exits; then init or the next subreaper adopts it.
	Detach bool

	// Sibling makes the root task a child of the engine's parent (CLONE_PARENT).
	Sibling bool

	// LeaveStopped leaves the restored tree stopped instead of letting it run.
	LeaveStopped bool

	// ShellJob lets a root task that did not lead its session inherit session and process group from the engine.
	// Without it such a tree is refused.
	ShellJob bool

	// Root is the directory below which the tree's root is looked up; empty means the engine's own.
	Root string

	// TCPEstablished brings connections back; TCPClose restores their sockets closed.
	TCPEstablished, TCPClose bool

	// ExtUnixSk connects external unix sockets again by name.
	ExtUnixSk bool

	// FileLocks takes the file locks of the images again.
	FileLocks bool

	// LinkRemap and EvasiveDevices as in [DumpOptions].
	LinkRemap, EvasiveDevices bool

	// InheritFD lists descriptors of the engine that stand in for objects of the images.
	InheritFD []InheritFD

	// External as in [DumpOptions]; nothing depends on it.
	External []string

	// ManageCgroups and CPUCap as in [DumpOptions].
	ManageCgroups string
	CPUCap        []string

	// FileValidation is "filesize" or "buildid"; empty means buildid.
	FileValidation string

	// SkipFileRWXCheck accepts a file whose permission bits have changed since the dump.
	SkipFileRWXCheck bool

	// Hook, if set, is called at each [Action].
	Hook Hook

	// Timeline gets the stages; nil costs nothing.
	Timeline *stage.Timeline

	// Log gets messages; nil is silent.
	Log *slog.Logger

	// Progress, if set, is called from time to time with the bytes of memory restored so far and the bytes to
	// restore, from one goroutine at a time.
	Progress func(done, total int64)
}

// RestoreResult is a restored tree.
type RestoreResult struct {
	RootPid   int   // PID of the root task as the engine sees it
	Processes int   // tasks with a PID of their own, zombies included
	Threads   int   // threads created, in all processes
	Pages     int64 // pages filled
	Bytes     int64 // bytes of memory read from the images

	// Wait waits until the root task ends and gives its wait status. It is nil where the engine can't wait: with
	// Sibling. May be called once, from any goroutine.
	Wait func() (syscall.WaitStatus, error)
}
