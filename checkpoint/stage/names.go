// SPDX-License-Identifier: Apache-2.0

package stage

// Op is what a timeline belongs to: a dump or a restore.
type Op string

// The operations that have stages.
const (
	Dump    Op = "dump"
	Restore Op = "restore"
)

// Name names a stage. The same names are used by the engine, its log, the tables, stats and the profiler.
type Name string

// Stages of a dump, in order.
const (
	Freeze  Name = "freeze"  // seize every thread of the tree
	Collect Name = "collect" // maps, descriptors, timers, ids read from outside
	Infect  Name = "infect"  // scratch memory and blob into each process
	Misc    Name = "misc"    // the batch of questions
	Files   Name = "files"   // descriptors and what is in them; a stage of restores too
	Pages   Name = "pages"   // memory contents; a stage of restores too
	Core    Name = "core"    // registers and process state
	Threads Name = "threads" // the same of each thread; a stage of restores too
	Cure    Name = "cure"    // blob out, original context back
	MM      Name = "mm"      // maps, auxv, exe link
	FS      Name = "fs"      // cwd, root, umask
	Tree    Name = "tree"    // pstree, sessions, shared memory, namespaces, cgroups
	Finish  Name = "finish"  // inventory, statistics, thaw or kill
)

// Stages of a restore, in order; files, pages and threads are shared with the dump.
const (
	Load   Name = "load"   // read and check the images
	Fork   Name = "fork"   // create the tree with its ids, sessions, namespaces
	Memory Name = "memory" // unmap, map, vDSO
	State  Name = "state"  // signals, timers, credentials, limits, seccomp
	Resume Name = "resume" // registers, let go
)

// Info describes a stage.
type Info struct {
	Name Name
	What string // one line, for a reader
	CRIU string // CRIU's functions that do the same, for side-by-side profiles
}

var infos = map[Op][]Info{
	Dump: {
		{Freeze, "seize every thread of the tree", "collect_pstree"},
		{Collect, "maps, descriptors, timers, ids read from outside", "collect_mappings, collect_fds, parse_posix_timers"},
		{Infect, "scratch memory and blob into each process", "parasite_infect_seized"},
		{Misc, "the batch of questions", "parasite_dump_misc_seized, parasite_dump_sigacts_seized, parasite_dump_itimers_seized"},
		{Files, "descriptors and what is in them", "dump_task_files_seized"},
		{Pages, "memory contents", "parasite_dump_pages_seized"},
		{Core, "registers and process state", "dump_task_core_all"},
		{Threads, "the same of each thread", "dump_task_threads"},
		{Cure, "blob out, original context back", "compel_stop_daemon, compel_cure"},
		{MM, "maps, auxv, exe link", "dump_task_mm"},
		{FS, "cwd, root, umask", "dump_task_fs"},
		{Tree, "pstree, sessions, shared memory, namespaces, cgroups", "dump_pstree, cr_dump_shmem, dump_namespaces"},
		{Finish, "inventory, statistics, thaw or kill", "cr_dump_finish"},
	},
	Restore: {
		{Load, "read and check the images", "check_img_inventory, prepare_pstree"},
		{Fork, "create the tree with its ids, sessions, namespaces", "restore_root_task"},
		{Files, "open and hand out descriptors", "prepare_fds"},
		{Memory, "unmap, map, vDSO", "unmap_old_vmas, vma_remap, restore_mapping"},
		{Pages, "contents", "preadv"},
		{Threads, "clone3, per-thread state", "restore_thread_common"},
		{State, "signals, timers, credentials, limits, seccomp", "prepare_signals, restore_creds"},
		{Resume, "registers, let go", "finalize_restore, rst_sigreturn"},
	},
}

// Of returns the stages of an operation in their order; the caller must not change the slice.
func Of(op Op) []Info { return infos[op] }
