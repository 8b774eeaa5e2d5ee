// SPDX-License-Identifier: Apache-2.0

// Package image reads, writes, checks and describes the files of a checkpoint: a directory in
// CRIU's image format (version 1.1, CRIU 2 and later), and a few files of Trapline's own beside it
// that CRIU ignores.
//
// An image of CRIU is a header, then entries. All integers are little-endian:
//
//	header of most images        header of stats-*             header of inventory.img
//	+0  u32 IMG_COMMON_MAGIC     +0  u32 IMG_SERVICE_MAGIC     +0  u32 INVENTORY_MAGIC
//	+4  u32 magic of the kind    +4  u32 STATS_MAGIC
//
//	entry
//	+0  u32 n       length of the message
//	+4  n bytes     the protobuf message
//	+4+n            raw bytes that belong to it (its payload), only in the kinds of [Payload]
//
// Other images are raw, that is without header and entries: pages-N.img (memory, whole pages in
// the order in which pagemap-PID.img lists them), and what ip, iptables and tar wrote.
//
// The names of the kinds, their magics and messages are one table: see [Kinds].
//
// # Completeness
//
// inventory.img is written last and under a temporary name, so a directory that has it is complete
// and one without it is not: [Open] then fails with [ErrIncomplete].
//
// # Checksums
//
// [SumsName] holds the length of every file and a CRC-32C of each of its 1 MiB blocks; sums.go
// draws it. A [Reader] checks the blocks of every image it decodes, [Verify] those of the whole
// directory. Directories that CRIU wrote have no such file.
//
// # Trust
//
// An image directory may come from anywhere. A reader never allocates more than a small multiple of
// what the files hold, opens nothing but regular files inside the directory (and, for a
// `parent` link, inside that directory), and reports damage as [ErrCorrupt], never by a panic.
package image
