// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"fmt"
	"strconv"
	"strings"
)

// provider is what a word before a colon means.
type provider struct {
	provider Provider
	ret      bool // the word asks for the return
}

var providers = map[string]provider{
	"kprobe": {ProviderKprobe, false}, "k": {ProviderKprobe, false},
	"kretprobe": {ProviderKprobe, true}, "kr": {ProviderKprobe, true},
	"fentry": {ProviderFentry, false}, "kfunc": {ProviderFentry, false},
	"fexit": {ProviderFentry, true}, "kretfunc": {ProviderFentry, true},
	"tracepoint": {ProviderTracepoint, false}, "t": {ProviderTracepoint, false},
	"rawtp": {ProviderRawTracepoint, false}, "rt": {ProviderRawTracepoint, false},
	"rawtracepoint": {ProviderRawTracepoint, false},
	"syscall":       {ProviderSyscall, false},
	"uprobe":        {ProviderUprobe, false}, "u": {ProviderUprobe, false},
	"uretprobe": {ProviderUprobe, true}, "ur": {ProviderUprobe, true},
}

// strangers are words that other tools take before a colon, and what to write here. Without this list they would be
// taken for names of modules.
var strangers = map[string]string{
	"p": "write kprobe:SYMBOL or k:SYMBOL", "r": "write kretprobe:SYMBOL or kr:SYMBOL",
	"tp": "write tracepoint:GROUP:EVENT", "tp_btf": "write rawtp:EVENT", "raw_tp": "write rawtp:EVENT",
	"raw_tracepoint": "write rawtp:EVENT", "ksyscall": "write syscall:NAME", "kretsyscall": "write syscall:NAME%return",
	"sys": "write syscall:NAME", "syscalls": "write syscall:NAME, or tracepoint:syscalls:EVENT",
	"kprobe.multi": "write kprobe:SYMBOL; many are attached at once wherever the kernel can",
	"usdt":         "marks in programs are not supported; uprobe:PATH:SYMBOL probes a function",
	"profile":      "sampling by time is not supported", "interval": "sampling by time is not supported",
	"hardware": "counters are not supported", "software": "counters are not supported",
}

var kinds = map[string]Kind{"entry": KindEntry, "return": KindReturn, "latency": KindLatency}

// kindErrors are likely wrong words behind the % of a place.
var kindErrors = map[string]string{
	"ret": "return", "exit": "return", "retval": "return", "r": "return", "enter": "entry", "begin": "entry", "start": "entry",
	"e": "entry", "lat": "latency", "time": "latency", "duration": "latency", "both": "latency",
}

// place reads the first word: where the probe is.
func (p *parser) place() error {
	start := p.pos
	end := start
	for end < len(p.text) && !isBlank(p.text[end]) {
		if p.text[end] == '\\' {
			end++ // what follows belongs to the path, even a blank
		}
		end++
	}
	word := p.text[start:min(end, len(p.text))]
	if word == "" {
		return p.fail(start, "a probe is missing", "write a kernel function, such as vfs_write")
	}
	p.pos = start + len(word)
	name, rest, colon := strings.Cut(word, ":")
	at := start + len(name) + 1
	if !colon {
		if word[0] == '/' {
			return p.fail(start, "a path alone is no place", "write uprobe:PATH:SYMBOL")
		}
		return p.symbol(word, start, false)
	}
	if known, ok := providers[name]; ok {
		p.spec.Provider = known.provider
		switch known.provider {
		case ProviderUprobe:
			return p.uprobe(rest, at, known.ret)
		case ProviderTracepoint:
			return p.tracepoint(rest, at)
		case ProviderRawTracepoint, ProviderSyscall:
			return p.symbol(rest, at, false)
		default:
			return p.inModule(rest, at, known.ret)
		}
	}
	if hint, ok := strangers[name]; ok {
		return p.fail(start, fmt.Sprintf("unknown kind of probe %q", name), hint)
	}
	if word[0] == '/' {
		return p.fail(start, "a path is no module", "write uprobe:"+shorten(word, 60))
	}
	return p.inModule(word, start, false)
}

// inModule reads [MODULE:]SYMBOL.
func (p *parser) inModule(s string, at int, ret bool) error {
	module, rest, ok := strings.Cut(s, ":")
	if !ok {
		return p.symbol(s, at, ret)
	}
	if err := p.characters(module, at, isModule, "the name of a module"); err != nil {
		return err
	}
	if rest == "return" {
		return p.fail(at+len(module), "the kind of a probe stands behind a %", fmt.Sprintf("write %s%%return", module))
	}
	p.spec.Module = strings.ReplaceAll(module, "-", "_") // as the kernel does
	return p.symbol(rest, at+len(module)+1, ret)
}

// tracepoint reads GROUP:EVENT.
func (p *parser) tracepoint(s string, at int) error {
	group, event, ok := strings.Cut(s, ":")
	if !ok {
		return p.fail(at+len(s), "the event of the tracepoint is missing", "write tracepoint:GROUP:EVENT, such as tracepoint:sched:sched_switch")
	}
	if err := p.pattern(group, at, isEvent, "the group of a tracepoint"); err != nil {
		return err
	}
	p.spec.Group = group
	return p.symbol(event, at+len(group)+1, false)
}

// uprobe reads PATH:SYMBOL.
func (p *parser) uprobe(s string, at int, ret bool) error {
	var path strings.Builder
	i := 0
	for ; i < len(s) && s[i] != ':'; i++ {
		if s[i] == '\\' {
			if i++; i == len(s) {
				return p.fail(at+i-1, "nothing follows the \\", "")
			}
		}
		if s[i] == 0 {
			return p.fail(at+i, "a path can't hold a NUL", "")
		}
		path.WriteByte(s[i])
	}
	switch {
	case path.Len() == 0:
		return p.fail(at+i, "the path of the program is missing", "write uprobe:PATH:SYMBOL")
	case i == len(s):
		return p.fail(at+i, "the symbol is missing", "write uprobe:PATH:SYMBOL")
	}
	p.spec.Path = path.String()
	return p.symbol(s[i+1:], at+i+1, ret)
}

// symbol reads SYMBOL[+OFFSET][%KIND] or an address, and decides on the kind. ret says that the provider's name asked
// for the return.
func (p *parser) symbol(s string, at int, ret bool) error {
	kind, ret2 := KindDefault, -1
	if i := strings.LastIndexByte(s, '%'); i >= 0 {
		var err error
		if kind, err = p.kind(s[i+1:], at+i); err != nil {
			return err
		}
		s, ret2 = s[:i], at+i
	}
	offset := strings.IndexByte(s, '+')
	if offset >= 0 {
		value, err := p.offset(s[offset+1:], at+offset)
		if err != nil {
			return err
		}
		p.spec.Offset = value
	}
	name := s
	if offset >= 0 {
		name = s[:offset]
	}
	if err := p.name(name, at); err != nil {
		return err
	}
	if offset >= 0 {
		if err := p.checkOffset(name, at+offset, kind, ret); err != nil {
			return err
		}
		kind = KindEntry
	}
	return p.decideKind(kind, max(ret2, at), ret)
}

// name takes the symbol, or the address that stands in its place.
func (p *parser) name(name string, at int) error {
	if name == "" {
		return p.fail(at, "the name is missing", "")
	}
	provider := p.spec.Provider
	if isDigit(name[0]) && provider != ProviderTracepoint && provider != ProviderRawTracepoint && provider != ProviderSyscall {
		value, err := strconv.ParseUint(name, 0, 64)
		if err != nil || value == 0 || !strings.HasPrefix(name, "0x") {
			return p.fail(at, fmt.Sprintf("%q is neither a symbol nor an address", shorten(name, 40)), "write an address in full, such as 0xffffffff81234567")
		}
		if p.spec.Module != "" {
			return p.fail(at, "an address needs no module", "")
		}
		p.spec.Address = value
		return nil
	}
	if bare, ok := strings.CutSuffix(name, "()"); ok {
		return p.fail(at+len(bare), "a symbol has no parentheses", "write "+shorten(bare, 60))
	}
	allowed, what := isSymbol, "a symbol"
	switch provider {
	case ProviderTracepoint, ProviderRawTracepoint:
		allowed, what = isEvent, "the name of a tracepoint"
	case ProviderSyscall:
		allowed, what = isEvent, "the name of a system call"
		if bare, ok := strings.CutPrefix(name, "sys_"); ok {
			return p.fail(at, "system calls are named without sys_", "write syscall:"+shorten(bare, 60))
		}
	case ProviderUprobe:
		allowed = isProgramSymbol
	}
	if err := p.pattern(name, at, allowed, what); err != nil {
		return err
	}
	p.spec.Symbol = name
	return nil
}

// kind reads the word behind the %, which stands at pos.
func (p *parser) kind(word string, pos int) (Kind, error) {
	if kind, ok := kinds[word]; ok {
		return kind, nil
	}
	hint := "behind a place stand %entry, %return or %latency; arguments come after a blank"
	if meant, ok := kindErrors[word]; ok {
		hint = "did you mean %" + meant + "?"
	} else if near := Nearest(word, []string{"entry", "return", "latency"}, 1); near != nil {
		hint = "did you mean %" + near[0] + "?"
	}
	return 0, p.fail(pos, fmt.Sprintf("unknown kind %q", "%"+shorten(word, 40)), hint)
}

// offset reads the number behind the +, which stands at pos.
func (p *parser) offset(s string, pos int) (uint64, error) {
	value, err := strconv.ParseUint(s, 0, 64)
	if err != nil || strings.Contains(s, "_") {
		return 0, p.fail(pos+1, fmt.Sprintf("%q is no offset", shorten(s, 40)), "write the bytes as +16 or +0x10")
	}
	if value > maxOffset {
		return 0, p.fail(pos+1, "the offset is too large", "")
	}
	return value, nil
}

// checkOffset refuses an offset, at pos, where none can be.
func (p *parser) checkOffset(name string, pos int, kind Kind, ret bool) error {
	switch {
	case kind == KindReturn || kind == KindLatency || ret:
		return p.fail(pos, "an offset names one instruction, which has no return", "leave out the offset, or the return")
	case p.spec.Provider == ProviderSyscall:
		return p.fail(pos, "a system call has no offset", "")
	case p.spec.Provider == ProviderTracepoint || p.spec.Provider == ProviderRawTracepoint:
		return p.fail(pos, "a tracepoint has no offset", "")
	case p.spec.Provider == ProviderFentry:
		return p.fail(pos, "fentry probes a function's entry only", "write kprobe: for an instruction")
	case p.spec.Address != 0:
		return p.fail(pos, "an address takes no offset", "add it to the address")
	case IsGlob(name):
		return p.fail(pos, "a pattern takes no offset", "name one symbol")
	}
	return nil
}

// decideKind sets the kind from what was written behind the place and what its provider means. pos is where an error
// points to.
func (p *parser) decideKind(kind Kind, pos int, ret bool) error {
	switch p.spec.Provider {
	case ProviderFunction, ProviderSyscall:
	case ProviderTracepoint, ProviderRawTracepoint:
		if kind == KindReturn || kind == KindLatency {
			return p.fail(pos, "a tracepoint has no return", "syscall:NAME%latency and functions have one")
		}
		kind = KindEntry
	default:
		switch {
		case ret && kind == KindEntry:
			return p.fail(pos, "this probe is at the return", "leave out %entry")
		case ret && kind == KindDefault:
			kind = KindReturn
		case kind == KindDefault:
			kind = KindEntry
		}
	}
	p.spec.Kind = kind
	return nil
}

// pattern checks a name that may be a glob.
func (p *parser) pattern(s string, at int, allowed func(byte) bool, what string) error {
	if err := p.characters(s, at, func(c byte) bool { return allowed(c) || strings.IndexByte("*?[]!^-", c) >= 0 }, what); err != nil {
		return err
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '[':
			end := setEnd(s[i:])
			if end < 0 {
				return p.fail(at+i, "this [ is never closed", "write a set of characters as [a-z]")
			}
			i += end
		case !allowed(c) && c != '*' && c != '?':
			return p.fail(at+i, fmt.Sprintf("%q can't be in %s", c, what), "")
		}
	}
	return nil
}

// characters checks that a name is there and has only the characters that it may have.
func (p *parser) characters(s string, at int, allowed func(byte) bool, what string) error {
	if s == "" {
		return p.fail(at, what+" is missing", "")
	}
	for i := 0; i < len(s); i++ {
		if allowed(s[i]) {
			continue
		}
		q := parser{text: p.text, pos: at + i}
		hint := ""
		switch s[i] {
		case '(', ')':
			hint = "leave out the parentheses"
		case ',':
			hint = "give each probe as a word of its own"
		case '=', '$', '/', '{':
			hint = "arguments and predicate come after a blank, as in: vfs_write len=%a2 if len > 4096"
		}
		return p.fail(at+i, fmt.Sprintf("%q can't be in %s", q.rune(), what), hint)
	}
	return nil
}

func isModule(c byte) bool { return isIdent(c) || c == '-' }

func isEvent(c byte) bool { return isIdent(c) || c == '-' }

func isSymbol(c byte) bool { return isIdent(c) || c == '.' || c == '$' }

// isProgramSymbol takes what compilers of C++, Rust and Go put into names too.
func isProgramSymbol(c byte) bool {
	return isSymbol(c) || c >= 0x80 || strings.IndexByte("@:()/{},<>~&-", c) >= 0
}
