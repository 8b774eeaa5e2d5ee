// SPDX-License-Identifier: Apache-2.0

// Package memory says which pages of a process a dump must write, and writes them.
//
// # Which
//
// A page goes into the image if it is the process' own: present or swapped, no longer (or never) that of a file, and not
// the kernel's shared page of zeros. One walk of PAGEMAP_SCAN over the mappings finds them ([Walk]); what was never
// touched costs nothing, so a sparse terabyte is free. Guard pages (MADV_GUARD_INSTALL) are met on the way and reported
// apart: reading one fails.
//
// What shared mappings hold belongs to their object, not to a process ([CopyObject]).
//
// # How
//
// The process itself writes its pages into the image ([Inside]): one copy, from its memory to the page cache, by
// pwritev(2) in a syscall batch. What it can't read (PROT_NONE, foreign protection keys), and the whole of a
// process that must not or can't write (a file size limit, no free descriptor, strict seccomp, a memory cgroup
// whose limit the page cache would hit), the engine reads through /proc/PID/mem ([Outside]).
//
// Neither keeps more than a fixed number of ranges, so the engine's memory does not depend on the target's.
package memory
