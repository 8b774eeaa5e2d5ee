// SPDX-License-Identifier: Apache-2.0

//go:build !riscv64

package patch

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// structs are the header's and ours. Fields have the same names, in each language's manner.
var structs = map[string]any{
	"probe_fetch": abi.Fetch{}, "probe_test": abi.Test{}, "probe_attr": abi.Attr{}, "probe_stats": abi.Stats{}, "probe_info": abi.Info{},
	"probe_page": abi.Page{}, "probe_ring": abi.Ring{}, "probe_event": abi.Event{},
}

// numbers are the header's constants and ours.
var numbers = map[string]uint64{
	"__NR_probe_open": abi.SysProbeOpen, "PROBE_ATTR_SIZE_VER0": abi.AttrSizeVer0, "PROBE_BUCKETS": abi.Buckets, "PROBE_CONTEXTS_MAX": abi.ContextsMax,
	"PROBE_FETCHES": abi.FetchesMax, "PROBE_VALUES": abi.ValuesMax, "PROBE_DEREFS": abi.DerefsMax, "PROBE_TESTS": abi.TestsMax, "PROBE_STRINGS": abi.StringsMax,
	"PROBE_STRING_SIZE": abi.StringSize, "PROBE_CONSTANT_SIZE": abi.ConstantSize, "PROBE_FRAMES_MAX": abi.FramesMax,
	"PROBE_STACK_WORDS_MAX": abi.StackWordsMax, "PROBE_REGS": abi.RegsMax, "PROBE_SYMBOL_MAX": abi.SymbolMax,
	"PROBE_ENTRY": uint64(abi.KindEntry), "PROBE_RETURN": uint64(abi.KindReturn), "PROBE_LATENCY": uint64(abi.KindLatency),
	"PROBE_FLAG_FILTER": abi.FlagFilter, "PROBE_FLAG_EVENTS": abi.FlagEvents, "PROBE_FLAG_CPU_TIME": abi.FlagCPUTime, "PROBE_FLAG_ERRORS": abi.FlagErrors,
	"PROBE_FLAG_VALUE": abi.FlagValue, "PROBE_FLAG_NO_JUMP": abi.FlagNoJump, "PROBE_FLAG_REGS": abi.FlagRegs, "PROBE_FLAGS_ALL": abi.FlagsAll,
	"PROBE_BASE_REG": uint64(recipe.BaseWord), "PROBE_BASE_RETVAL": uint64(recipe.BaseRetval), "PROBE_BASE_IMMEDIATE": uint64(recipe.BaseImmediate),
	"PROBE_BASE_COMM": uint64(recipe.BaseComm), "PROBE_BASE_PID": uint64(recipe.BasePID), "PROBE_BASE_TID": uint64(recipe.BaseTID),
	"PROBE_BASE_UID": uint64(recipe.BaseUID), "PROBE_BASE_CPU": uint64(recipe.BaseCPU), "PROBE_BASE_LATENCY": uint64(recipe.BaseLatency),
	"PROBE_BASE_CONTEXT":    uint64(recipe.BaseContext),
	"PROBE_FORMAT_UNSIGNED": uint64(recipe.FormatUnsigned), "PROBE_FORMAT_SIGNED": uint64(recipe.FormatSigned),
	"PROBE_FORMAT_STRING": uint64(recipe.FormatString), "PROBE_FORMAT_USER_STRING": uint64(recipe.FormatUserString),
	"PROBE_TEST_EQUAL": uint64(recipe.OpEqual), "PROBE_TEST_NOT_EQUAL": uint64(recipe.OpNotEqual), "PROBE_TEST_LESS": uint64(recipe.OpLess),
	"PROBE_TEST_LESS_EQUAL": uint64(recipe.OpLessEqual), "PROBE_TEST_GREATER": uint64(recipe.OpGreater),
	"PROBE_TEST_GREATER_EQUAL": uint64(recipe.OpGreaterEqual), "PROBE_TEST_BITS": uint64(recipe.OpBits), "PROBE_TEST_STRING": uint64(recipe.OpString),
	"PROBE_TEST_NOT_STRING": uint64(recipe.OpNotString), "PROBE_TEST_GLOB": uint64(recipe.OpGlob), "PROBE_TEST_AND": uint64(recipe.OpAnd),
	"PROBE_TEST_OR": uint64(recipe.OpOr), "PROBE_TEST_NOT": uint64(recipe.OpNot),
	"PROBE_REASON_NONE": uint64(abi.ReasonNone), "PROBE_REASON_ENTRY_TEXT": uint64(abi.ReasonEntryText), "PROBE_REASON_ENGINE": uint64(abi.ReasonEngine),
	"PROBE_REASON_NOINSTR": uint64(abi.ReasonNoinstr), "PROBE_REASON_KPROBES_TEXT": uint64(abi.ReasonKprobesText),
	"PROBE_REASON_INIT_TEXT": uint64(abi.ReasonInitText), "PROBE_REASON_PATCHING": uint64(abi.ReasonPatching), "PROBE_REASON_LR_SC": uint64(abi.ReasonLRSC),
	"PROBE_REASON_EXTABLE": uint64(abi.ReasonExtable), "PROBE_REASON_JUMP_LABEL": uint64(abi.ReasonJumpLabel),
	"PROBE_REASON_NOT_TEXT": uint64(abi.ReasonNotText), "PROBE_REASON_BOUNDARY": uint64(abi.ReasonBoundary),
	"PROBE_REASON_INSTRUCTION": uint64(abi.ReasonInstruction), "PROBE_REASON_KPROBE": uint64(abi.ReasonKprobe), "PROBE_REASON_SLOTS": uint64(abi.ReasonSlots),
	"PROBE_REASON_LOCKDOWN": uint64(abi.ReasonLockdown), "PROBE_REASON_STACK": uint64(abi.ReasonStack), "PROBE_REASON_NO_RETURN": uint64(abi.ReasonNoReturn),
	"PROBE_METHOD_JUMP": uint64(MethodJump), "PROBE_METHOD_SLOT": uint64(MethodSlot), "PROBE_METHOD_SIMULATE": uint64(MethodSimulate),
	"PROBE_IOC_ENABLE": abi.IocEnable, "PROBE_IOC_DISABLE": abi.IocDisable, "PROBE_IOC_RESET": abi.IocReset, "PROBE_IOC_FOLLOW": abi.IocFollow,
	"PROBE_IOC_LAUNCH": abi.IocLaunch, "PROBE_IOC_INFO": abi.IocInfo, "PROBE_GROUP": abi.WholeGroup,
	"PROBE_EVENT_PAD": abi.EventPad, "PROBE_EVENT_ENTRY": abi.EventEntry, "PROBE_EVENT_RETURN": abi.EventReturn, "PROBE_EVENT_LATENCY": abi.EventLatency,
}

// Structs and constants are those of the header, byte for byte, and so are the limits that recipes keep.
func TestABI(t *testing.T) {
	want := map[string]uint64{}
	program := strings.Builder{}
	program.WriteString("#include <stdio.h>\n#include <stddef.h>\n#include <trapline.h>\nint main(void)\n{\n")
	ask := func(name, expression string, ours uint64) {
		want[name] = ours
		fmt.Fprintf(&program, "\tprintf(\"%s %%llu\\n\", (unsigned long long)(%s));\n", name, expression)
	}
	for name, ours := range structs {
		typ := reflect.TypeOf(ours)
		ask(name, "sizeof(struct "+name+")", uint64(typ.Size()))
		for i := range typ.NumField() {
			f := typ.Field(i)
			c := name + "." + snake(f.Name)
			ask(c, fmt.Sprintf("offsetof(struct %s, %s)", name, snake(f.Name)), uint64(f.Offset))
			ask(c+"_size", fmt.Sprintf("sizeof(((struct %s *)0)->%s)", name, snake(f.Name)), uint64(f.Type.Size()))
		}
	}
	for name, ours := range numbers {
		ask(name, name, ours)
	}
	program.WriteString("\treturn 0;\n}\n")
	for name, got := range runC(t, program.String()) {
		if got != want[name] {
			t.Errorf("%s: %d in the header, %d here", name, got, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s: the program does not say", name)
	}
	for what, pair := range map[string][2]int{
		"fetches": {recipe.MaxFetches, abi.FetchesMax}, "values": {recipe.MaxValues, abi.ValuesMax}, "derefs": {recipe.MaxDerefs, abi.DerefsMax},
		"tests": {recipe.MaxTests, abi.TestsMax}, "strings": {recipe.MaxStrings, abi.StringsMax}, "string size": {recipe.StringSize, abi.StringSize},
		"constant": {recipe.MaxConstant + 1, abi.ConstantSize}, "frames": {recipe.MaxFrames, abi.FramesMax}, "buckets": {probes.Buckets, abi.Buckets},
		"entry": {int(probes.KindEntry), abi.KindEntry}, "return": {int(probes.KindReturn), abi.KindReturn},
		"latency": {int(probes.KindLatency), abi.KindLatency},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %d in our packages, %d in the header", what, pair[0], pair[1])
		}
	}
}

// runC compiles and runs a program that prints names and numbers.
func runC(t *testing.T, source string) map[string]uint64 {
	t.Helper()
	include, err := filepath.Abs("../../kernel-patch/include")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "abi")
	cc := exec.Command("cc", "-Wall", "-Werror", "-I", include, "-x", "c", "-", "-o", path)
	cc.Stdin = strings.NewReader(source)
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("compile the program that prints the header's sizes: %v\n%s", err, out)
	}
	out, err := exec.Command(path).Output()
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]uint64{}
	for line := range strings.Lines(string(out)) {
		var name string
		var n uint64
		if _, err := fmt.Sscan(line, &name, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		said[name] = n
	}
	return said
}

// snake writes a field's name as C does: GroupFD is group_fd.
func snake(name string) string {
	var b strings.Builder
	before := 'A'
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
		before = r
	}
	return b.String()
}
