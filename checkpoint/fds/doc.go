// SPDX-License-Identifier: Apache-2.0

// Package fds carries descriptors: it reads the descriptor tables of stopped processes into CRIU's
// image format and makes the open files behind them again.
//
// # Kinds
//
// An open file is of a kind: regular file, pipe, socket, eventfd … Each kind is one file of this package that holds
// both directions and registers itself (see registry.go), so that a further kind is one new file.
//
// # Dump
//
// A [Collector] takes one descriptor table after the other. Nothing runs in the target: the engine duplicates a
// descriptor with pidfd_getfd(2), looks at it, and reads /proc/PID/fdinfo. Which descriptors are the same open file
// (by dup or fork) tells kcmp(2), asked only among those of one inode, in a sorted list. What an open file holds (pipe data,
// socket queues, deleted files, memfds) is read by [Collector.Finish], which writes the images:
//
//	fdinfo-N.img        number, close-on-exec flag, and file id of each descriptor of table N
//	files.img           one entry for each open file, and for what maps, exe, cwd and root name
//	pipes-data.img      what is in pipes; fifo-data.img the same of FIFOs
//	sk-queues.img       what is queued in unix sockets
//	memfd.img           inodes of memfds, their contents in pagemap-shmem-N.img and pages-N.img
//	remap-fpath.img     files that have lost their name, their contents in ghost-file-N.img
//	filelocks.img       file locks
//	trapline-fds.json   what those have no field for (see extra.go)
//
// A duplicated descriptor is the target's own open file. Nothing here may move its position, change its flags or take
// data out of it; files are reopened through /proc/thread-self/fd before they are read.
//
// # Restore
//
// A [Set] is loaded from the images. [Set.Open] makes an open file in the engine and keeps it; the restore engine hands
// it to each process that had it and puts it to its number, so sharing by dup and fork comes back by itself. What only the
// process can do (epoll registrations, O_ASYNC, POSIX locks) is returned by [Set.Remotes] as system calls to be made there.
// [Set.Close] removes what must not stay; [Set.Abort] leaves the file system as it was.
//
// Paths in images are those that the engine sees in the target's mount namespace, without symbolic links. They are
// opened below the root directory that the options name.
package fds
