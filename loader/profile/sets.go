// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trapline/trapline/probes"
)

// Sets are the names that stand for many probes, and what each is for.
func Sets() map[string]string {
	about := map[string]string{}
	for name, s := range sets {
		about[name] = s.about
	}
	return about
}

// sets are lists of kernel functions and system calls. Functions are those that do a stage's work, on any kernel since 5.15: what a
// kernel does not have or can't probe is left out. The system calls around them hold what is left, and stand alone where no kernel
// function can be probed.
var sets = map[string]struct {
	about     string
	functions string
	syscalls  string
}{
	"default": {
		about: "what dumps and restores do: every system call, and below it ptrace, page tables, files, maps, faults, processes",
		functions: `ptrace_request ptrace_attach arch_ptrace wait_task_inactive __access_remote_vm access_process_vm get_user_pages_remote
			walk_page_range pagemap_read seq_read_iter seq_read show_map
			vfs_read vfs_write vfs_open vfs_statx vfs_readlink iterate_dir do_filp_open do_truncate vfs_fallocate
			do_mmap do_vmi_munmap __do_munmap move_page_tables mprotect_fixup do_madvise handle_mm_fault exit_mmap
			kernel_clone copy_process wake_up_new_task kernel_wait4`,
		syscalls: "*",
	},
	"memory": {
		about: "maps, page tables, faults and copies",
		functions: `do_mmap mmap_region do_vmi_munmap __do_munmap unmap_region unmap_vmas free_pgtables move_page_tables mprotect_fixup do_madvise
			handle_mm_fault do_anonymous_page do_wp_page do_fault filemap_fault shmem_fault copy_page_range dup_mmap exit_mmap
			walk_page_range pagemap_read __access_remote_vm get_user_pages_remote iov_iter_copy_from_user_atomic copy_page_from_iter
			generic_perform_write vmsplice_to_pipe`,
		syscalls: `mmap munmap mprotect mremap madvise brk process_vm_readv process_vm_writev process_madvise userfaultfd ioctl
			read pread64 preadv preadv2 write pwrite64 pwritev vmsplice splice prctl mlock2 memfd_create clone clone3`,
	},
	"files": {
		about: "descriptors, paths and what is read and written",
		functions: `do_filp_open path_lookupat link_path_walk do_dentry_open vfs_open vfs_read vfs_write vfs_statx vfs_readlink iterate_dir
			vfs_fallocate do_truncate vfs_unlink vfs_mkdir vfs_rename ext4_file_write_iter generic_perform_write filp_close __fput seq_read_iter
			pipe_write pipe_read splice_file_to_pipe`,
		syscalls: `openat openat2 open close close_range read pread64 preadv readv write pwrite64 pwritev writev lseek fstat newfstatat statx readlink
			readlinkat getdents64 ftruncate fallocate fcntl dup dup2 dup3 pipe2 mkdirat unlinkat renameat renameat2 linkat pidfd_getfd pidfd_open
			kcmp ioctl splice sendfile copy_file_range fsync mount epoll_create1 epoll_ctl eventfd2 timerfd_create signalfd4 inotify_init1`,
	},
	"net": {
		about: "sockets, and what is passed through them",
		functions: `__sys_socket __sys_bind __sys_connect __sys_setsockopt __sys_getsockopt sock_sendmsg sock_recvmsg unix_stream_sendmsg
			unix_stream_recvmsg unix_dgram_sendmsg tcp_sendmsg tcp_recvmsg tcp_v4_connect inet_bind inet_listen netlink_sendmsg netlink_dump
			inet_diag_dump sock_diag_rcv`,
		syscalls: `socket socketpair bind listen accept4 connect setsockopt getsockopt getsockname getpeername sendto recvfrom sendmsg recvmsg
			shutdown`,
	},
	"sched": {
		about: "processes: birth, stops, waiting, switches of tasks",
		functions: `schedule wait_task_inactive try_to_wake_up wake_up_new_task kernel_clone copy_process kernel_wait4 ptrace_request
			ptrace_attach ptrace_stop signal_wake_up_state set_cpus_allowed_ptr`,
		syscalls: `clone clone3 fork vfork execve exit_group wait4 waitid ptrace kill tgkill rt_sigqueueinfo rt_tgsigqueueinfo sched_setaffinity
			sched_yield futex nanosleep clock_nanosleep setns unshare`,
	},
}

// waits are calls in which a task does nothing but wait: they explain an instant only if nothing that works does.
var waits = words(`syscall:wait4 syscall:waitid syscall:futex syscall:futex_wait syscall:futex_waitv syscall:epoll_wait syscall:epoll_pwait
	syscall:epoll_pwait2 syscall:poll syscall:ppoll syscall:select syscall:pselect6 syscall:nanosleep syscall:clock_nanosleep
	syscall:rt_sigtimedwait syscall:rt_sigsuspend syscall:pause syscall:restart_syscall syscall:accept syscall:accept4 syscall:sched_yield
	kernel_wait4 schedule wait_task_inactive ptrace_stop`)

// idle are the waits in which the threads of a Go program stand when there is nothing for them to do. In the profile of one, as of our own
// engine, they say nothing: while one thread works in user space, another one is always in them. In pause stands a process that is being restored
// while nobody asks anything of it.
var idle = words(`syscall:futex syscall:epoll_pwait syscall:epoll_wait syscall:nanosleep syscall:clock_nanosleep syscall:rt_sigtimedwait
	syscall:ppoll syscall:restart_syscall syscall:pause schedule`)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// A set is the probes that were chosen.
type set struct {
	specs    []*probes.Spec
	asked    []*probes.Spec // of them, those of an expression: they must be placed
	more     []string       // also waits
	idleLeft bool           // idle threads are left out: the engine's own profile
}

// Check says what is wrong with names of sets and expressions, before anything is placed.
func Check(names []string) error {
	_, err := choose(names, nil)
	return err
}

// choose makes the set of names and expressions. Without a map it is for this program's own engine. Go programs have idle threads.
func choose(names []string, m *Map) (*set, error) {
	s := &set{idleLeft: m == nil || m.moves}
	if len(names) == 0 {
		names = []string{"default"}
	}
	seen := map[string]bool{}
	add := func(text string, asked bool) error {
		if seen[text] {
			return nil
		}
		seen[text] = true
		spec, err := probes.Parse(text)
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		s.specs = append(s.specs, spec)
		if asked {
			s.asked = append(s.asked, spec)
		}
		return nil
	}
	for _, name := range names {
		known, ok := sets[name]
		if !ok {
			if strings.ContainsAny(name, ":%+*") || strings.Contains(name, "_") || strings.Contains(name, " ") {
				spec, err := asLatency(name)
				if err != nil {
					return nil, err
				}
				if err := add(spec, true); err != nil {
					return nil, err
				}
				continue
			}
			all := slices.Sorted(maps.Keys(sets))
			if near := probes.Nearest(name, all, 1); len(near) > 0 {
				return nil, fmt.Errorf("profile: there is no set of probes %q; did you mean %s?", name, near[0])
			}
			return nil, fmt.Errorf("profile: there is no set of probes %q: there are %s; or give a probe's expression, as kprobe:%s%%latency",
				name, strings.Join(all, ", "), name)
		}
		for _, call := range strings.Fields(known.syscalls) {
			if err := add("syscall:"+call+"%latency", false); err != nil {
				return nil, err
			}
		}
		for _, function := range strings.Fields(known.functions) {
			if err := add(function+"%latency", false); err != nil {
				return nil, err
			}
		}
	}
	if m == nil {
		return s, nil
	}
	s.more = m.waits
	if seen["syscall:*%latency"] {
		return s, nil
	}
	for call := range m.calls() {
		if err := add(call+"%latency", false); err != nil {
			return nil, fmt.Errorf("stage map %s: %w", m.Name, err)
		}
	}
	return s, nil
}

// asLatency makes a latency probe of an expression that names no kind, as tables have it.
func asLatency(text string) (string, error) {
	spec, err := probes.Parse(text)
	if err != nil {
		return "", fmt.Errorf("profile: %w", err)
	}
	if spec.Kind == probes.KindReturn {
		return "", fmt.Errorf("profile: %s: a return says nothing of where time went; want %%latency, or an entry to count", text)
	}
	place, rest, spaced := strings.Cut(text, " ")
	if spec.Kind != probes.KindDefault || strings.ContainsAny(place, "%+") {
		return text, nil
	}
	if spaced {
		rest = " " + rest
	}
	return place + "%latency" + rest, nil
}

// bare is a label without its kind.
func bare(label string) string {
	label, _, _ = strings.Cut(label, "%")
	return label
}

// waits says whether the calls of a probe only wait.
func (s *set) waits(label string) bool {
	return waits[bare(label)] || slices.Contains(s.more, bare(label))
}

// left says that a probe of a set is not shown.
func (s *set) left(label string) bool {
	if !s.idleLeft || !idle[bare(label)] {
		return false
	}
	for _, spec := range s.asked {
		if bare(spec.String()) == bare(label) {
			return false
		}
	}
	return true
}

// missing says in few words what of the sets could not be placed, and fails for what was asked for by an expression.
func (s *set) missing(placed map[*probes.Spec]bool, why []error) ([]string, error) {
	var functions []string
	for _, spec := range s.specs {
		if placed[spec] {
			continue
		}
		if slices.Contains(s.asked, spec) {
			return nil, fmt.Errorf("profile: %s can't be probed here: %w", spec, errors.Join(why...))
		}
		if spec.Provider != probes.ProviderSyscall {
			functions = append(functions, bare(spec.String()))
		}
	}
	if len(functions) == 0 {
		return nil, nil
	}
	all := 0
	for _, spec := range s.specs {
		if spec.Provider != probes.ProviderSyscall {
			all++
		}
	}
	if len(functions) == all {
		return []string{fmt.Sprintf("no kernel function can be probed here, so the parts are system calls alone; trapline probe %s says why", functions[0])}, nil
	}
	return []string{fmt.Sprintf("%d of %d kernel functions of the set are not to be had in this kernel: %s", len(functions), all, strings.Join(functions, " "))}, nil
}
