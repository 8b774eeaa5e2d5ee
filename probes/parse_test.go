// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// bare is a copy of a probe without what String does not keep: the text and the offsets in it.
func bare(s *Spec) *Spec {
	c := *s
	c.Text = ""
	c.Args = nil
	for _, a := range s.Args {
		c.Args = append(c.Args, bareArg(a))
	}
	c.If = bareExpr(s.If)
	return &c
}

func bareArg(a Arg) Arg {
	a.Pos, a.Fetch.Pos = 0, 0
	return a
}

func bareExpr(e Expr) Expr {
	switch e := e.(type) {
	case *And:
		return &And{bareExpr(e.L), bareExpr(e.R)}
	case *Or:
		return &Or{bareExpr(e.L), bareExpr(e.R)}
	case *Not:
		return &Not{X: bareExpr(e.X)}
	case *Compare:
		return &Compare{Op: e.Op, L: bareOperand(e.L), R: bareOperand(e.R)}
	}
	return nil
}

func bareOperand(o Operand) Operand {
	o.Pos, o.Arg = 0, bareArg(o.Arg)
	return o
}

func TestParsePlaces(t *testing.T) {
	for text, want := range map[string]Spec{
		"vfs_write":                           {Symbol: "vfs_write"},
		"  vfs_write ":                        {Symbol: "vfs_write"},
		"vfs_write%entry":                     {Symbol: "vfs_write", Kind: KindEntry},
		"vfs_write%return":                    {Symbol: "vfs_write", Kind: KindReturn},
		"vfs_write%latency":                   {Symbol: "vfs_write", Kind: KindLatency},
		"vfs_write+0x10":                      {Symbol: "vfs_write", Kind: KindEntry, Offset: 16},
		"vfs_write+16%entry":                  {Symbol: "vfs_write", Kind: KindEntry, Offset: 16},
		"vfs_write+0":                         {Symbol: "vfs_write", Kind: KindEntry},
		"ext4:ext4_sync_file":                 {Module: "ext4", Symbol: "ext4_sync_file"},
		"vmlinux:vfs_write":                   {Module: "vmlinux", Symbol: "vfs_write"},
		"snd-pcm:snd_pcm_open":                {Module: "snd_pcm", Symbol: "snd_pcm_open"},
		"do_sys.isra.0":                       {Symbol: "do_sys.isra.0"},
		"vfs_*":                               {Symbol: "vfs_*"},
		"vfs_[!a-f]?*%return":                 {Symbol: "vfs_[!a-f]?*", Kind: KindReturn},
		"0xffffffff81234567":                  {Address: 0xffffffff81234567},
		"0xffffffff81234567%latency":          {Address: 0xffffffff81234567, Kind: KindLatency},
		"kprobe:vfs_write":                    {Provider: ProviderKprobe, Kind: KindEntry, Symbol: "vfs_write"},
		"kprobe:vfs_write%return":             {Provider: ProviderKprobe, Kind: KindReturn, Symbol: "vfs_write"},
		"k:ext4:ext4_sync_file+4":             {Provider: ProviderKprobe, Kind: KindEntry, Module: "ext4", Symbol: "ext4_sync_file", Offset: 4},
		"kretprobe:vfs_write":                 {Provider: ProviderKprobe, Kind: KindReturn, Symbol: "vfs_write"},
		"kr:vfs_write%latency":                {Provider: ProviderKprobe, Kind: KindLatency, Symbol: "vfs_write"},
		"fentry:vfs_write":                    {Provider: ProviderFentry, Kind: KindEntry, Symbol: "vfs_write"},
		"kfunc:vmlinux:vfs_write%latency":     {Provider: ProviderFentry, Kind: KindLatency, Module: "vmlinux", Symbol: "vfs_write"},
		"fexit:vfs_write":                     {Provider: ProviderFentry, Kind: KindReturn, Symbol: "vfs_write"},
		"kretfunc:vfs_write":                  {Provider: ProviderFentry, Kind: KindReturn, Symbol: "vfs_write"},
		"tracepoint:sched:sched_switch":       {Provider: ProviderTracepoint, Kind: KindEntry, Group: "sched", Symbol: "sched_switch"},
		"t:sch*:*":                            {Provider: ProviderTracepoint, Kind: KindEntry, Group: "sch*", Symbol: "*"},
		"rawtp:sched_switch":                  {Provider: ProviderRawTracepoint, Kind: KindEntry, Symbol: "sched_switch"},
		"rt:sched_switch%entry":               {Provider: ProviderRawTracepoint, Kind: KindEntry, Symbol: "sched_switch"},
		"syscall:openat":                      {Provider: ProviderSyscall, Symbol: "openat"},
		"syscall:*%return":                    {Provider: ProviderSyscall, Symbol: "*", Kind: KindReturn},
		"uprobe:/bin/bash:readline":           {Provider: ProviderUprobe, Kind: KindEntry, Path: "/bin/bash", Symbol: "readline"},
		"u:bash:readline+0x4":                 {Provider: ProviderUprobe, Kind: KindEntry, Path: "bash", Symbol: "readline", Offset: 4},
		"ur:./a:f":                            {Provider: ProviderUprobe, Kind: KindReturn, Path: "./a", Symbol: "f"},
		"uprobe:/bin/criu:0x1234%latency":     {Provider: ProviderUprobe, Kind: KindLatency, Path: "/bin/criu", Address: 0x1234},
		`uprobe:/a\:b\ c\\d:main.(*T).M`:      {Provider: ProviderUprobe, Kind: KindEntry, Path: `/a:b c\d`, Symbol: "main.(*T).M"},
		"uretprobe:/lib/x.so:std::vec<int>::": {Provider: ProviderUprobe, Kind: KindReturn, Path: "/lib/x.so", Symbol: "std::vec<int>::"},
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if !reflect.DeepEqual(bare(s), &want) {
			t.Errorf("Parse(%q)\n got %+v\nwant %+v", text, bare(s), &want)
		}
		if s.Text != text {
			t.Errorf("Parse(%q).Text = %q", text, s.Text)
		}
	}
}

func TestParseArguments(t *testing.T) {
	arg := func(name string, f Fetch, typ string) Arg { return Arg{Name: name, Fetch: f, Type: types[typ]} }
	for text, want := range map[string][]Arg{
		"f fd=%a0 len=%a2:u64":   {arg("fd", Fetch{Index: 0}, "x64"), arg("len", Fetch{Index: 2}, "u64")},
		"f %a0 $arg2 %di":        {arg("arg1", Fetch{}, "x64"), arg("arg2", Fetch{Index: 1}, "x64"), arg("arg3", Fetch{Base: BaseRegister, Name: "di"}, "x64")},
		"f arg2=%a0 %a1":         {arg("arg2", Fetch{}, "x64"), arg("arg3", Fetch{Index: 1}, "x64")},
		"f $comm $pid":           {arg("comm", Fetch{Base: BaseComm}, "string"), arg("pid", Fetch{Base: BasePID}, "u32")},
		"f $tid $uid $cpu":       {arg("tid", Fetch{Base: BaseTID}, "u32"), arg("uid", Fetch{Base: BaseUID}, "u32"), arg("cpu", Fetch{Base: BaseCPU}, "u32")},
		"f $latency $retval":     {arg("latency", Fetch{Base: BaseLatency}, "u64"), arg("retval", Fetch{Base: BaseRetval}, "s64")},
		"f $context:x32":         {arg("context", Fetch{Base: BaseContext}, "x32")},
		"f $stack $stack3":       {arg("stack", Fetch{Base: BaseStackAddr}, "x64"), arg("stack3", Fetch{Base: BaseStack, Index: 3}, "x64")},
		"f +8(%a0):string":       {arg("arg1", Fetch{Deref: []Deref{{Offset: 8}}}, "string")},
		"f +0(+0x10(%a0)):u16":   {arg("arg1", Fetch{Deref: []Deref{{Offset: 16}, {}}}, "u16")},
		"f -8(%a0)":              {arg("arg1", Fetch{Deref: []Deref{{Offset: -8}}}, "x64")},
		"f +u8(%a1):ustring":     {arg("arg1", Fetch{Index: 1, Deref: []Deref{{8, true}}}, "ustring")},
		"f n=%a1:string":         {arg("n", Fetch{Index: 1, Deref: []Deref{{}}}, "string")},
		"f n=%a1:ustring":        {arg("n", Fetch{Index: 1, Deref: []Deref{{User: true}}}, "ustring")},
		"f @jiffies":             {arg("arg1", Fetch{Base: BaseAddress, Symbol: "jiffies", Deref: []Deref{{}}}, "x64")},
		"f +4(@head-8):s32":      {arg("arg1", Fetch{Base: BaseAddress, Symbol: "head", Deref: []Deref{{Offset: -8}, {Offset: 4}}}, "s32")},
		"f @0xffff0000+4:string": {arg("arg1", Fetch{Base: BaseAddress, Value: 0xffff0000, Deref: []Deref{{Offset: 4}}}, "string")},
		`f \10 \0x1f \-1`:        {arg("arg1", Fetch{Base: BaseImmediate, Value: 10}, "x64"), arg("arg2", Fetch{Base: BaseImmediate, Value: 31}, "x64"), arg("arg3", Fetch{Base: BaseImmediate, Value: 1<<64 - 1}, "x64")},
		"f %a0:symbol %a1:char":  {arg("arg1", Fetch{}, "symbol"), arg("arg2", Fetch{Index: 1}, "char")},
		"kr:f %ax $retval:s32":   {arg("arg1", Fetch{Base: BaseRegister, Name: "ax"}, "x64"), arg("retval", Fetch{Base: BaseRetval}, "s32")},
		"fexit:f %a0":            {arg("arg1", Fetch{}, "x64")},
		"t:a:b $prev_comm:string $x": {
			arg("prev_comm", Fetch{Base: BaseField, Name: "prev_comm"}, "string"), arg("x", Fetch{Base: BaseField, Name: "x"}, ""),
		},
		"t:a:b $pid p=args.pid args->comm": {
			arg("pid", Fetch{Base: BasePID}, "u32"), arg("p", Fetch{Base: BaseField, Name: "pid"}, ""), arg("comm", Fetch{Base: BaseField, Name: "comm"}, ""),
		},
		"syscall:openat $filename:string %a0:s32": {
			arg("filename", Fetch{Base: BaseField, Name: "filename", Deref: []Deref{{User: true}}}, "ustring"), arg("arg2", Fetch{}, "s32"),
		},
		"u:a:f s=%a0:string p=+8(%a1)": {
			arg("s", Fetch{Deref: []Deref{{User: true}}}, "ustring"), arg("p", Fetch{Index: 1, Deref: []Deref{{8, true}}}, "x64"),
		},
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if got := bare(s).Args; !reflect.DeepEqual(got, want) {
			t.Errorf("Parse(%q)\n got %+v\nwant %+v", text, got, want)
		}
	}
}

func TestParsePredicates(t *testing.T) {
	// The canonical form shows how a predicate was understood; TestParseString checks that it is faithful.
	for text, want := range map[string]string{
		"f len=%a2:u64 if len > 4096":                           "f len=%a2:u64 if len > 4096",
		"f if %a2:u64>4k&&$pid==1||$comm~'ba*'":                 `f if %a2:u64 > 4096 && $pid == 1 || $comm ~ "ba*"`,
		"f if %a0 == 1 && (%a1 == 2 || %a2 == 3)":               "f if %a0 == 1 && (%a1 == 2 || %a2 == 3)",
		"f if (%a0 == 1) && ((%a1 == 2 && %a2 == 3))":           "f if %a0 == 1 && (%a1 == 2 && %a2 == 3)",
		"f if (%a0 == 1 || %a1 == 2) || %a2 == 3":               "f if %a0 == 1 || %a1 == 2 || %a2 == 3",
		"f if %a0 == 1 || (%a1 == 2 || %a2 == 3)":               "f if %a0 == 1 || (%a1 == 2 || %a2 == 3)",
		"f if !(%a0 == 1) && ! !(%a0 == 2)":                     "f if !(%a0 == 1) && !!(%a0 == 2)",
		"f if (%a0 == 1 || %a1==2) && $cpu!=0":                  "f if (%a0 == 1 || %a1 == 2) && $cpu != 0",
		"f if %a0 < -1 && %a1 >= 0x10 && %a2 <= 010":            "f if %a0 < -1 && %a1 >= 16 && %a2 <= 8",
		"f if %a0 & 0x40 && %a1 == 0xffffffffffffffff":          "f if %a0 & 64 && %a1 == 18446744073709551615",
		"f%latency if $latency > 10us && $retval < 0":           "f%latency if $latency > 10000 && $retval < 0",
		"f if $latency > 2ms":                                   "f%latency if $latency > 2000000",
		"f if $retval == -9223372036854775808":                  "f%latency if $retval == -9223372036854775808",
		"f c=%a0:char if c == 'a'":                              "f c=%a0:char if c == 97",
		`f s=%a0:string if s == "a\"b\\c\n" && s != 'it"s'`:     `f s=+0(%a0):string if s == "a\"b\\c\n" && s != "it\"s"`,
		"f if +8(%a0):u32 == 5 && -4(%a0) != 0":                 "f if +8(%a0):u32 == 5 && -4(%a0) != 0",
		"f if(%a0==1)":                                          "f if %a0 == 1",
		"f if 5 < %a0:s32":                                      "f if 5 < %a0:s32",
		"t:a:b if $prev_comm == 'x' && args.pid > 5 && $n == 3": `tracepoint:a:b if $prev_comm == "x" && args.pid > 5 && $n == 3`,
		"f if $comm == 'a b' && %a0 == 1G":                      `f if $comm == "a b" && %a0 == 1073741824`,
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if got := s.String(); got != want {
			t.Errorf("Parse(%q).String()\n got %s\nwant %s", text, got, want)
		}
	}
}

// TestParseErrors gives each wrong text with a ^ before the character that the error must point to, and a part of the
// message.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"^":                          "a probe is missing",
		"vfs_write^%ret":             "did you mean %return?",
		"vfs_write^%latenyc":         "did you mean %latency?",
		"vfs_write^%a0":              "arguments come after a blank",
		"kprobe:vfs_write^()":        "no parentheses; write vfs_write",
		"vfs_write^(fd)":             "leave out the parentheses",
		"^p:vfs_write":               "kprobe:SYMBOL",
		"^tp:sched:x":                "tracepoint:GROUP:EVENT",
		"vfs_write^:return":          "vfs_write%return",
		"^/bin/bash:readline":        "write uprobe:/bin/bash:readline",
		"^/bin/bash":                 "uprobe:PATH:SYMBOL",
		"uprobe:/bin/bash^":          "symbol is missing",
		"uprobe:^:x":                 "path of the program is missing",
		"uprobe:/x:^":                "name is missing",
		"tracepoint:sched^":          "event of the tracepoint is missing",
		"tracepoint:^:x":             "group of a tracepoint is missing",
		"tracepoint:a:b^%return":     "no return",
		"rawtp:x^+4":                 "no offset",
		"syscall:openat^+4":          "no offset",
		"syscall:^sys_openat":        "syscall:openat",
		"fentry:x^+4":                "write kprobe:",
		"x^+4%return":                "no return",
		"x^+4%latency":               "no return",
		"kr:x^+4":                    "no return",
		"x*^+4":                      "pattern",
		"x+^4z":                      "no offset",
		"x+^":                        "no offset",
		"x+^0x100000000":             "too large",
		"0xffffffff81234567^+4":      "add it to the address",
		"^0x0":                       "neither a symbol nor an address",
		"^123":                       "neither a symbol nor an address",
		"kretprobe:x^%entry":         "at the return",
		"vfs_^[a":                    "never closed",
		"vfs_^!":                     "can't be in a symbol",
		"a^,b":                       "word of its own",
		"é":                          "can't be in a symbol",
		"f ^x":                       "if\" should stand here",
		"f ^/pid == 1/":              "if len > 4096",
		"f ^{ print }":               "no actions",
		"f ^where %a0 == 1":          "if len > 4096",
		"f %a0^,%a1":                 "separated by blanks",
		"f a=%a0 ^a=%a1":             "two arguments",
		"f ^if=%a0":                  "can't be an argument's name",
		"f a=^":                      "is missing",
		"f ^%a8":                     "$stack1",
		"f ^%arg1":                   "write parameters as %a0",
		"f ^%comm":                   "did you mean $comm?",
		"f %^":                       "is missing",
		"f ^$ret":                    "did you mean $retval?",
		"f ^$latenci":                "did you mean $latency?",
		"f ^$arg0":                   "did you mean $arg1, the first one?",
		"f ^$count":                  "write parameters as %a0",
		"f ^$stack1000":              "fewer words",
		"syscall:x ^$ret":            "$retval",
		"f +^(%a0)":                  "offset of a memory read",
		"f +8^%a0":                   "( of a memory read",
		"f +8(%a0^":                  "closing )",
		"f +8(^$comm)":               "not a pointer",
		"f ^+1(+1(+1(+1(+1(%a0)))))": "at most 4",
		"f @^":                       "kernel symbol",
		`f \^`:                       "number is missing",
		"f %a0:^u65":                 "types are u8",
		"f %a0:^str":                 "did you mean string?",
		"f $comm:^u64":               "$comm is a string",
		"f $pid:^string":             "no string",
		"f %entry^%return":           "blank",
		"f%entry ^$retval":           "use %return or %latency",
		"kprobe:f ^$latency":         "use %return or %latency",
		"f%return ^$latency":         "use %latency",
		"f%return ^%a0":              "use %latency",
		"kretprobe:f +8(^%a0)":       "use %latency",
		"f+4 ^$retval":               "use %return or %latency",
		"t:a:b ^$retval":             "args.retval",
		"t:a:b ^%a0":                 "$FIELD",
		"t:a:b ^%di":                 "no registers",
		"rt:a ^$x":                   "only tracepoints and system calls",
		"fentry:f ^%di":              "kprobe:",
		"syscall:a ^%a6":             "at most 6",
		"syscall:a%return ^$fd":      "use %latency",
		"u:a:f ^@x":                  "not the program's",
		"f ^args.x":                  "write parameters as %a0",
		"f a=%a0 b=%a0 c=%a0 d=%a0 e=%a0 f=%a0 g=%a0 h=%a0 ^i=%a0": "at most 8",
		"f if^":                              "is missing",
		"f if ^len > 5":                      "name it before the if",
		"f if ^pid == 5":                     "did you mean $pid?",
		"f length=%a0 if ^lenght == 5":       "did you mean length?",
		"t:a:b if ^prio == 5":                "$prio",
		"f if %a0 ^= 5":                      "write ==",
		"f if %a0^":                          "comparison is missing",
		"f if %a0 == 5 ^and %a1 == 5":        "write &&",
		"f if %a0 == 5 ^| %a1 == 5":          "write ||",
		"f if %a0 & 1 ^== 1":                 "joined by",
		"f if (%a0 == 5^":                    "closing )",
		"f if !^%a0 == 5":                    "parentheses",
		"f if %a0 == 5^q":                    "unknown unit",
		"f if %a0 > 1^.5ms":                  "1500us",
		"f if %a0 == ^99999999999999999999":  "64 bits",
		"f if %a0 == ^18446744073709551615k": "64 bits",
		"f if %a0 == ^-9223372036854775809":  "64 bits",
		"f if %a0 == ^'x":                    "never closed",
		"f if %a0 == ^'x'":                   ":string",
		"f if $comm == ^5":                   "into quotes",
		"f if $comm ^< 'x'":                  "use ==",
		"f if %a0 ^~ 5":                      "only strings",
		"f s=%a0:string if $comm ~ ^s":       "in quotes",
		"f if ^1 == 1":                       "two constants",
		"f if %a0 == 1 || ^$retval < 0":      "joined by",
		"f if !($latency > 5 && ^%a0 == 1)":  "join such",
		"f%entry if ^$retval < 0":            "use %return or %latency",
	} {
		pos := max(strings.IndexByte(text, '^'), 0)
		if !strings.Contains(text, "[!^") {
			text = strings.Replace(text, "^", "", 1)
		}
		_, err := Parse(text)
		var e *ParseError
		if !errors.As(err, &e) {
			t.Errorf("Parse(%q): got %v, want a *ParseError with %q", text, err, want)
			continue
		}
		if e.Pos != pos || !strings.Contains(e.Error(), want) && !strings.Contains(strings.ReplaceAll(e.Error(), `\"`, `"`), want) {
			t.Errorf("Parse(%q)\n got at %d: %v\nwant at %d: %s", text, e.Pos, err, pos, want)
		}
	}
	for _, text := range []string{
		strings.Repeat("a", maxText+1),
		"f if " + strings.Repeat("(", 5000),
		"f if " + strings.Repeat("!", 50) + "(%a0 == 1)",
		"f " + strings.Repeat("+1(", 1000) + "%a0",
		"f if %a0 == 1" + strings.Repeat(" && %a0 == 1", MaxCompares),
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("Parse(%.40q…) succeeded", text)
		}
	}
}

func TestParseErrorDetail(t *testing.T) {
	_, err := Parse("uprobe:/é:f\tlen=%a9")
	var e *ParseError
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	want := "uprobe:/é:f len=%a9\n                ^ only the parameters %a0 … %a7 are in registers\nthe others are on the stack: $stack1 …"
	if got := e.Detail(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if want := "column 17: only the parameters"; !strings.Contains(e.Error(), want) {
		t.Errorf("got %q, want %q in it", e.Error(), want)
	}
}

func TestSplitReturn(t *testing.T) {
	write := func(e Expr) string {
		var b strings.Builder
		if e != nil {
			writeExpr(&b, e)
		}
		return b.String()
	}
	for text, want := range map[string][2]string{
		"f":                              {"", ""},
		"f%latency if %a0 == 1":          {"%a0 == 1", ""},
		"f if $retval < 0":               {"", "$retval < 0"},
		"f if %a0 == 1 && $retval < 0":   {"%a0 == 1", "$retval < 0"},
		"f if $latency > 5 && $pid == 1": {"$pid == 1", "$latency > 5"},
		"f if ($latency > 5 || $pid == 1) && %a0 == 1 && $cpu == 0": {"%a0 == 1 && $cpu == 0", "$latency > 5 || $pid == 1"},
		"f if !($retval == 0 && $latency < 5)":                      {"", "!($retval == 0 && $latency < 5)"},
		"f if +8($retval) == 1 && (%a0 == 1 && $retval != 0)":       {"%a0 == 1", "+8($retval) == 1 && $retval != 0"},
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		entry, ret, err := SplitReturn(s.If)
		if got := [2]string{write(entry), write(ret)}; err != nil || got != want {
			t.Errorf("SplitReturn(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestCompareSigned(t *testing.T) {
	for text, want := range map[string]bool{
		"f if %a0 > 0xffffffff81000000": false,
		"f if %a0 > -1":                 true,
		"f if %a0:s32 > 1":              true,
		"f if 1 < $retval":              true,
		"f if $latency > 1":             false,
	} {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.If.(*Compare).Signed(); got != want {
			t.Errorf("%s: signed %v, want %v", text, got, want)
		}
	}
}

// roundTrip checks that the canonical form is read as the same probe and written the same again.
func roundTrip(t *testing.T, s *Spec) {
	t.Helper()
	canonical := s.String()
	again, err := Parse(canonical)
	if err != nil {
		t.Fatalf("%q is written as %q: %v", s.Text, canonical, err)
	}
	if !reflect.DeepEqual(bare(s), bare(again)) {
		t.Fatalf("%q is written as %q\n got %+v\nwant %+v", s.Text, canonical, bare(again), bare(s))
	}
	if second := again.String(); second != canonical {
		t.Fatalf("%q is written as %q, then as %q", s.Text, canonical, second)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"vfs_write fd=%a0 len=%a2:u64 if len > 4096", "ext4:ext4_*%latency $retval:s32 $latency if $latency > 10us && $comm ~ 'ba*'",
		"kr:vfs_write+0x10", "fentry:vmlinux:x[a-z]?", "t:sched:sched_switch $prev_comm:string args.pid", "rt:sched_switch %a1",
		`uprobe:/a\:b:main.(*T).M+4 s=+u8(-0x8(%a0)):ustring @sym-8 \-5 $stack $stack1`, "0xffffffff81000000%return $retval",
		"syscall:open* $filename:string if !($fd == -1 || $flags & 0x40) && (%a0 == 1 && %a1 != 2)", "f if %a0:char == 'x' || ($pid == 1 || $tid == 2)",
		"f if $comm == 'a\\'b\\\\' if", "f%ret", "f @0xffffffff81000000+8:symbol %di $cpu $uid $context",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err == nil {
			roundTrip(t, s)
			return
		}
		var e *ParseError
		if !errors.As(err, &e) || e.Pos < 0 || e.Pos > len(text) || e.Text != text || e.Msg == "" || strings.Contains(e.Error(), "\n") {
			t.Fatalf("Parse(%q): bad error %#v", text, err)
		}
		_ = e.Detail()
	})
}
