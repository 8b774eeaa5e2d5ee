// SPDX-License-Identifier: Apache-2.0

package cpu

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
)

func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)

func xgetbv() (lo, hi uint32)

// flag is one bit of a CPUID leaf that says that programs may use an instruction.
type flag struct {
	leaf, sub uint32
	reg       int // 0 eax … 3 edx
	bit       uint
	name      string
}

// flags are the features of user space, from the Intel SDM vol. 2 (CPUID) and AMD's manual vol. 3, appendix E. What only
// the kernel uses is not here.
var flags = []flag{
	{1, 0, 3, 0, "fpu"},
	{1, 0, 3, 4, "tsc"},
	{1, 0, 3, 8, "cx8"},
	{1, 0, 3, 15, "cmov"},
	{1, 0, 3, 19, "clflush"},
	{1, 0, 3, 23, "mmx"},
	{1, 0, 3, 24, "fxsr"},
	{1, 0, 3, 25, "sse"},
	{1, 0, 3, 26, "sse2"},
	{1, 0, 2, 0, "sse3"},
	{1, 0, 2, 1, "pclmulqdq"},
	{1, 0, 2, 9, "ssse3"},
	{1, 0, 2, 12, "fma"},
	{1, 0, 2, 13, "cx16"},
	{1, 0, 2, 19, "sse4_1"},
	{1, 0, 2, 20, "sse4_2"},
	{1, 0, 2, 22, "movbe"},
	{1, 0, 2, 23, "popcnt"},
	{1, 0, 2, 25, "aes"},
	{1, 0, 2, 26, "xsave"},
	{1, 0, 2, 27, "osxsave"},
	{1, 0, 2, 28, "avx"},
	{1, 0, 2, 29, "f16c"},
	{1, 0, 2, 30, "rdrand"},
	{7, 0, 1, 0, "fsgsbase"},
	{7, 0, 1, 3, "bmi1"},
	{7, 0, 1, 4, "hle"},
	{7, 0, 1, 5, "avx2"},
	{7, 0, 1, 8, "bmi2"},
	{7, 0, 1, 9, "erms"},
	{7, 0, 1, 11, "rtm"},
	{7, 0, 1, 14, "mpx"},
	{7, 0, 1, 16, "avx512f"},
	{7, 0, 1, 17, "avx512dq"},
	{7, 0, 1, 18, "rdseed"},
	{7, 0, 1, 19, "adx"},
	{7, 0, 1, 21, "avx512ifma"},
	{7, 0, 1, 23, "clflushopt"},
	{7, 0, 1, 24, "clwb"},
	{7, 0, 1, 26, "avx512pf"},
	{7, 0, 1, 27, "avx512er"},
	{7, 0, 1, 28, "avx512cd"},
	{7, 0, 1, 29, "sha_ni"},
	{7, 0, 1, 30, "avx512bw"},
	{7, 0, 1, 31, "avx512vl"},
	{7, 0, 2, 0, "prefetchwt1"},
	{7, 0, 2, 1, "avx512vbmi"},
	{7, 0, 2, 4, "ospke"},
	{7, 0, 2, 5, "waitpkg"},
	{7, 0, 2, 6, "avx512_vbmi2"},
	{7, 0, 2, 7, "shstk"},
	{7, 0, 2, 8, "gfni"},
	{7, 0, 2, 9, "vaes"},
	{7, 0, 2, 10, "vpclmulqdq"},
	{7, 0, 2, 11, "avx512_vnni"},
	{7, 0, 2, 12, "avx512_bitalg"},
	{7, 0, 2, 14, "avx512_vpopcntdq"},
	{7, 0, 2, 22, "rdpid"},
	{7, 0, 2, 25, "cldemote"},
	{7, 0, 2, 27, "movdiri"},
	{7, 0, 2, 28, "movdir64b"},
	{7, 0, 3, 2, "avx512_4vnniw"},
	{7, 0, 3, 3, "avx512_4fmaps"},
	{7, 0, 3, 4, "fsrm"},
	{7, 0, 3, 5, "uintr"},
	{7, 0, 3, 8, "avx512_vp2intersect"},
	{7, 0, 3, 14, "serialize"},
	{7, 0, 3, 16, "tsxldtrk"},
	{7, 0, 3, 20, "ibt"},
	{7, 0, 3, 22, "amx_bf16"},
	{7, 0, 3, 23, "avx512_fp16"},
	{7, 0, 3, 24, "amx_tile"},
	{7, 0, 3, 25, "amx_int8"},
	{7, 1, 0, 0, "sha512"},
	{7, 1, 0, 1, "sm3"},
	{7, 1, 0, 2, "sm4"},
	{7, 1, 0, 4, "avx_vnni"},
	{7, 1, 0, 5, "avx512_bf16"},
	{7, 1, 0, 7, "cmpccxadd"},
	{7, 1, 0, 21, "amx_fp16"},
	{7, 1, 0, 23, "avx_ifma"},
	{7, 1, 3, 4, "avx_vnni_int8"},
	{7, 1, 3, 5, "avx_ne_convert"},
	{7, 1, 3, 8, "amx_complex"},
	{0xd, 1, 0, 0, "xsaveopt"},
	{0xd, 1, 0, 1, "xsavec"},
	{0xd, 1, 0, 2, "xgetbv1"},
	{0x80000001, 0, 2, 0, "lahf_lm"},
	{0x80000001, 0, 2, 5, "abm"},
	{0x80000001, 0, 2, 6, "sse4a"},
	{0x80000001, 0, 2, 8, "3dnowprefetch"},
	{0x80000001, 0, 2, 11, "xop"},
	{0x80000001, 0, 2, 16, "fma4"},
	{0x80000001, 0, 2, 21, "tbm"},
	{0x80000001, 0, 3, 11, "syscall"},
	{0x80000001, 0, 3, 22, "mmxext"},
	{0x80000001, 0, 3, 27, "rdtscp"},
	{0x80000001, 0, 3, 29, "lm"},
	{0x80000008, 0, 1, 0, "clzero"},
}

// Current describes this machine's CPU.
var Current = sync.OnceValue(func() Features {
	f := Features{Arch: "amd64"}
	maxLeaf, b, c, d := cpuid(0, 0)
	f.Vendor = text(b, d, c)
	maxExt, _, _, _ := cpuid(0x80000000, 0)
	sig, _, _, _ := cpuid(1, 0)
	f.Family, f.ModelNr, f.Stepping = sig>>8&0xf, sig>>4&0xf, sig&0xf
	if f.Family == 0xf {
		f.Family += sig >> 20 & 0xff
	}
	if f.Family >= 6 {
		f.ModelNr |= sig >> 16 & 0xf << 4
	}
	if maxExt >= 0x80000004 {
		var s strings.Builder
		for leaf := uint32(0x80000002); leaf <= 0x80000004; leaf++ {
			s.WriteString(text4(cpuid(leaf, 0)))
		}
		f.Model = strings.TrimSpace(strings.TrimRight(s.String(), "\x00"))
	}
	// In a virtual machine each CPUID is an exit to the hypervisor, some 20 µs: every leaf is asked once.
	type leaf struct{ leaf, sub uint32 }
	known := map[leaf][4]uint32{}
	ask := func(l, sub uint32) [4]uint32 {
		r, ok := known[leaf{l, sub}]
		if !ok {
			r[0], r[1], r[2], r[3] = cpuid(l, sub)
			known[leaf{l, sub}] = r
		}
		return r
	}
	for _, fl := range flags {
		if fl.leaf >= 0x80000000 && fl.leaf > maxExt || fl.leaf < 0x80000000 && fl.leaf > maxLeaf {
			continue
		}
		if fl.sub > 0 && fl.leaf == 7 {
			if fl.sub > ask(7, 0)[0] {
				continue
			}
		}
		if r := ask(fl.leaf, fl.sub); r[fl.reg]>>fl.bit&1 != 0 {
			f.Names = append(f.Names, fl.name)
		}
	}
	slices.Sort(f.Names)
	if _, ok := slices.BinarySearch(f.Names, "osxsave"); ok {
		lo, hi := xgetbv()
		f.XCR0 = uint64(hi)<<32 | uint64(lo)
		_, f.XSaveSize, _, _ = cpuid(0xd, 0)
	}
	return f
})

func text(regs ...uint32) string {
	var b []byte
	for _, r := range regs {
		b = binary.LittleEndian.AppendUint32(b, r)
	}
	return string(b)
}

func text4(a, b, c, d uint32) string { return text(a, b, c, d) }

// component is where a state component lies in an XSAVE area of standard format.
type component struct{ off, size uint32 }

// layout is that of this CPU, by component number.
var layout = sync.OnceValue(func() map[int]component {
	m := map[int]component{}
	if maxLeaf, _, _, _ := cpuid(0, 0); maxLeaf < 0xd {
		return m
	}
	xcr0 := Current().XCR0
	for i := 2; i < 63; i++ {
		if xcr0>>i&1 == 0 {
			continue
		}
		if size, off, _, _ := cpuid(0xd, uint32(i)); size > 0 {
			m[i] = component{off, size}
		}
	}
	return m
})
