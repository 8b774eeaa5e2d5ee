// SPDX-License-Identifier: Apache-2.0

package place

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/probes"
)

// compile builds a program or library of C.
func compile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("cc", append([]string{"-x", "c", "-", "-o", path}, flags...)...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return path
}

// resolve gives the names of an expression's places.
func resolve(t *testing.T, text string) ([]string, error) {
	t.Helper()
	spec, err := probes.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	list, err := NewKernel().Resolve(spec)
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names, err
}

// refused checks that expressions have no place, and why.
func refused(t *testing.T, cases map[string]string) {
	t.Helper()
	for text, want := range cases {
		names, err := resolve(t, text)
		if err == nil {
			t.Errorf("%s: is %s; want an error with %q", text, names, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", text, err, want)
		}
	}
}

const chosen = `
static int sum_plain(int n) { return n + 1; }
static int sum_fast(int n) { return n + 2; }
static int (*resolve_sum(void))(int) { return sum_plain(1) == 2 ? sum_fast : sum_plain; }
int sum(int n) __attribute__((ifunc("resolve_sum")));
int old_add(int n) { return n; }
int new_add(int n) { return n + 1; }
__asm__(".symver old_add, add@OLD");
__asm__(".symver new_add, add@@NEW");
int gone(int n) { return n + 3; }
__asm__(".symver gone, removed@OLD");
int sumo(int n) { return n; }
`

func TestVersionsAndIFUNC(t *testing.T) {
	script := filepath.Join(t.TempDir(), "versions")
	if err := os.WriteFile(script, []byte("OLD { global: *; };\nNEW { } OLD;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"-s"}} {
		path := compile(t, chosen, append([]string{"-O1", "-shared", "-fPIC", "-Wl,--version-script=" + script}, flags...)...)
		place := "uprobe:" + path + ":"
		for text, want := range map[string]string{
			"add": "add", "add@OLD": "add@OLD", "add@NEW": "add", "removed": "removed@OLD", "a*d": "add", "sumo": "sumo",
			"rem*": "removed@OLD",
		} {
			names, err := resolve(t, place+text)
			if err != nil || len(names) != 1 || names[0] != place+want {
				t.Errorf("%v: %s: %s, %v; want %s", flags, text, names, err, want)
			}
		}
		impl := "probe one of sum_fast, sum_plain"
		if flags != nil {
			impl = "does not name those that there are"
			if names, err := resolve(t, place+"sum*"); err != nil || len(names) != 1 {
				t.Errorf("sum*: %s, %v; want sumo alone", names, err)
			}
		}
		refused(t, map[string]string{place + "sum": impl})
	}
}

// Every offset of a function is one where objdump sees an instruction begin, or refused.
func TestInstructionBoundaries(t *testing.T) {
	path := compile(t, `
#include <stdio.h>
#include <math.h>
double spread(double *v, int n) {
	double s = 0;
	for (int i = 0; i < n; i++)
		s += v[i] * v[i] / (n + 1);
	return sqrt(s) + (int)s % 7;
}
int main(int argc, char **argv) { double v[3] = {argc, 2, 3}; printf("%f %s\n", spread(v, 3), argv[0]); return 0; }
`, "-O2", "-lm")
	p, err := openProgram(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	begins := disassemble(t, path)
	fs, err := p.readFunctions()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"spread", "main", "_start"} {
		fn := fs.match(name)[0]
		good := 0
		for offset := uint64(1); offset < fn.size; offset++ {
			text := fmt.Sprintf("uprobe:%s:%s+%d", path, name, offset)
			byAddress := fmt.Sprintf("uprobe:%s:%#x", path, fn.address+offset)
			_, err := resolve(t, text)
			if _, e := resolve(t, byAddress); (e == nil) != (err == nil) {
				t.Errorf("%s: %v, but %s: %v", text, err, byAddress, e)
			}
			switch {
			case err == nil && !begins[fn.address+offset]:
				t.Errorf("%s: is placed, but inside an instruction", text)
			case err == nil:
				good++
			case begins[fn.address+offset] && strings.Contains(err.Error(), "inside an instruction"):
				t.Errorf("%s: %v; but objdump sees one begin there", text, err)
			}
		}
		if good < 5 {
			t.Errorf("%s: only %d instructions can be probed", name, good)
		}
	}
}

// What is decoded of the C library, with all its hand-written code, never differs from what objdump sees.
func TestLibraryInstructions(t *testing.T) {
	path, err := findProgram("libc")
	if err != nil {
		t.Fatal(err)
	}
	p, err := openProgram(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fs, err := p.readFunctions()
	if err != nil {
		t.Fatal(err)
	}
	begins := disassemble(t, path)
	whole, all := 0, 0
	for _, fn := range fs {
		code := p.codeAt(fn.address, fn.size)
		at := 0
		for at < len(code) {
			if !begins[fn.address+uint64(at)] {
				t.Errorf("%s+%#x: objdump sees no instruction begin there", fn.name, at)
				break
			}
			n := instructionLength(code[at:])
			if n == 0 {
				break
			}
			at += n
		}
		all++
		if at >= len(code) {
			whole++
		}
	}
	t.Logf("%d of %d functions can be decoded to their end", whole, all)
	if whole < all*9/10 {
		t.Errorf("only %d of %d functions can be decoded to their end", whole, all)
	}
}

// disassemble gives the addresses at which objdump sees instructions begin.
func disassemble(t *testing.T, path string) map[uint64]bool {
	t.Helper()
	out, err := exec.Command("objdump", "-d", "--no-show-raw-insn", "-w", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	begins := map[uint64]bool{}
	for line := range strings.Lines(string(out)) {
		text, _, ok := strings.Cut(strings.TrimSpace(line), ":\t")
		if address, err := strconv.ParseUint(text, 16, 64); ok && err == nil {
			begins[address] = true
		}
	}
	return begins
}

func TestNoProgram(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o700); err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	header := make([]byte, 64)
	f, err := os.Open(own)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(header, 0); err != nil {
		t.Fatal(err)
	}
	stranger := bytes.Clone(header)
	stranger[18], stranger[19] = byte(elf.EM_S390&0xff), byte(elf.EM_S390>>8)
	clear(stranger[32:64]) // no segments, no sections
	stranger[52], stranger[54], stranger[58] = 64, 56, 64
	old := make([]byte, 52)
	copy(old, header[:16])
	old[elf.EI_CLASS] = byte(elf.ELFCLASS32)
	old[16], old[18], old[20], old[40], old[42], old[46] = byte(elf.ET_EXEC), byte(elf.EM_386), 1, 52, 32, 40
	refused(t, map[string]string{
		"uprobe:" + fifo + ":main":                                "is a FIFO",
		"uprobe:" + dir + ":main":                                 "is a directory",
		"uprobe:/dev/null:main":                                   "is a device",
		"uprobe:/etc/passwd:main":                                 "/etc/passwd is no ELF program or library",
		"uprobe:" + write("empty", nil) + ":main":                 "is no ELF program or library",
		"uprobe:" + write("script", []byte("#!/bin/sh\n")) + ":f": "is a script",
		"uprobe:" + write("half", header[:20]) + ":main":          "can't be read as an ELF file",
		"uprobe:" + write("stranger", stranger) + ":main":         "program for EM_S390",
		"uprobe:" + write("old", old) + ":main":                   "is a 32-bit program for EM_386",
		"uprobe:" + compile(t, "int f;", "-c") + ":main":          "no program or library",
	})
}

func TestReturnsRefused(t *testing.T) {
	path := compile(t, `
#include <setjmp.h>
#include <unistd.h>
static jmp_buf buf;
__attribute__((noinline)) int f(int n) { return n + 1; }
int main(int argc, char **argv) { return setjmp(buf) + f(argc) + vfork(); }
__asm__(".type f.cold, @function\n f.cold: nop\n .size f.cold, 1");
`, "-O1", "-static")
	place := "uprobe:" + path + ":"
	p, err := openProgram(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fs, err := p.readFunctions()
	if err != nil {
		t.Fatal(err)
	}
	f := fs.match("f")[0]
	refused(t, map[string]string{
		place + "_start%latency":                          "where the program begins",
		place + "_setjmp%return":                          "returns more than once",
		place + "vfork%latency":                           "returns more than once",
		place + "__sigsetjmp%return":                      "returns more than once",
		place + "f.cold%latency":                          "is jumped to",
		place + "f.c*%latency":                            "is jumped to",
		fmt.Sprintf("%s%#x%%return", place, p.Entry):      "where the program begins",
		fmt.Sprintf("%s%#x%%latency", place, f.address+1): "no function is known to begin",
	})
	for _, text := range []string{"f%latency", fmt.Sprintf("%#x%%latency", f.address), "_start", "f.cold", "_setjmp%entry"} {
		if names, err := resolve(t, place+text); err != nil || len(names) != 1 {
			t.Errorf("%s: %s, %v; want one place", text, names, err)
		}
	}
	names, err := resolve(t, place+"*%latency")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		switch strings.TrimPrefix(name, place) {
		case "_start", "f.cold", "_setjmp", "__sigsetjmp", "vfork", "__vfork":
			t.Errorf("*%%latency has %s", name)
		}
	}
	stripped := compile(t, "int main(void) { return 0; }", "-s")
	q, err := openProgram(stripped)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	refused(t, map[string]string{fmt.Sprintf("uprobe:%s:%#x%%latency", stripped, q.Entry+64): "no function is known to begin"})
}
