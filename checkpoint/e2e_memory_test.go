// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"fmt"
	"os"
	"path/filepath"
)

// Item 3: memory.
var memoryScenarios = []scenario{
	{name: "memory/anonymous", prog: "mem_anon", short: true},
	memFlag("mlock"), memFlag("onfault").lacking("MLOCK_ONFAULT"), memFlag("lockall").lacking("MCL_FUTURE"),
	memFlag("hugepage"), memFlag("nohugepage"), memFlag("dontfork"), memFlag("wipeonfork").withCRIU("CRIU does not dump MADV_WIPEONFORK"),
	memFlag("dontdump"), memFlag("sequential"), memFlag("random"), memFlag("mergeable"),
	memFlag("growsdown"), memFlag("noreserve"),
	{name: "memory/named", prog: "mem_named"},
	scenario{name: "memory/guard", prog: "mem_guard"}.lacking("guard pages"),
	{name: "memory/file_private", prog: "mem_files", args: []string{"private"}, short: true},
	{name: "memory/file_shared", prog: "mem_files", args: []string{"shared"}},
	{name: "memory/file_renamed", prog: "mem_files", args: []string{"renamed"}},
	{name: "memory/file_deleted_private", prog: "mem_files", args: []string{"deleted-private"}},
	{name: "memory/file_deleted_shared", prog: "mem_files", args: []string{"deleted-shared"}},
	{name: "memory/shared_anonymous", prog: "mem_shared", args: []string{"anon"}, short: true},
	{name: "memory/shared_memfd", prog: "mem_shared", args: []string{"memfd"}},
	{name: "memory/shared_memfd_sealed", prog: "mem_shared", args: []string{"sealed"}},
	{name: "memory/shared_file", prog: "mem_shared", args: []string{"file"}},
	{name: "memory/shared_devshm", prog: "mem_shared", args: []string{"devshm"}},
	scenario{name: "memory/sysv", prog: "mem_shared", args: []string{"sysv"}}.lacking("SysV memory without its IPC namespace"),
	{name: "memory/protections", prog: "mem_protections"},
	{name: "memory/20000_maps", prog: "mem_many", args: []string{"20000"}, ignore: []string{"maps"}},
	{name: "memory/reserved_terabyte", prog: "mem_reserved", images: smallImages(4 << 20)},
	{name: "memory/sparse_terabyte", prog: "mem_sparse", images: smallImages(4 << 20)},
	{name: "memory/copy_on_write", prog: "mem_cow", images: smallImages(40 << 20), known: map[string]string{
		"criu-*": "CRIU writes a page that several processes share copy-on-write once for each",
	}},
	{name: "memory/copy_on_write_deep", prog: "mem_cow_deep"},
	{name: "memory/neighbours", prog: "mem_neighbours"},
	{name: "memory/vdso", prog: "mem_vdso", short: true},
	{name: "memory/huge_pages", prog: "mem_misc", args: []string{"thp"}},
	{name: "memory/paged_out", prog: "mem_misc", args: []string{"swap"}},
	scenario{name: "memory/sealed_map", prog: "mem_misc", args: []string{"seal"}}.lacking("mseal"),
	{name: "memory/protection_keys", prog: "mem_misc", args: []string{"pkey"}},
}

// lacking marks what CRIU's images have no field for, or CRIU ignores.
func (s scenario) lacking(what string) scenario {
	why := "CRIU does not carry " + what
	s.known = map[string]string{"criu-*": why, "*-criu": why}
	return s
}

func memFlag(name string) scenario {
	return scenario{name: "memory/" + name, prog: "mem_flags", args: []string{name}}
}

// smallImages objects if the images take more than limit bytes on disk.
func smallImages(limit int64) func(string) error {
	return func(dir string) error {
		files, err := filepath.Glob(filepath.Join(dir, "pages-*.img"))
		if err != nil {
			return err
		}
		var sum int64
		for _, f := range files {
			st, err := os.Stat(f)
			if err != nil {
				return err
			}
			sum += st.Size()
		}
		if sum > limit {
			return fmt.Errorf("the pages in the images are %d bytes, expected at most %d", sum, limit)
		}
		return nil
	}
}
