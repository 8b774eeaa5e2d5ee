// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"fmt"
	"strconv"
	"strings"
)

// What one probe may have at most. The programs in the kernel have room for this much.
const (
	MaxArgs     = 8    // arguments
	MaxDerefs   = 4    // memory reads of one fetch
	MaxCompares = 16   // comparisons of the predicate
	MaxString   = 63   // bytes of a string constant, as bpf/wire.h has room for
	maxText     = 4096 // bytes of the whole expression
	maxDepth    = 32   // parentheses and negations inside each other
	maxOffset   = 1 << 31
	maxArgName  = 31
)

// Parse reads one probe as a user writes it: the place, then what to read there, then when it counts.
//
//	vfs_write                    a kernel function
//	vfs_write+0x10               one of its instructions
//	vfs_write%return             its return; %entry, and %latency for both, paired
//	ext4:ext4_sync_file          in this module only ("vmlinux" is the kernel itself)
//	vfs_*                        all that match: * ? [a-z]
//	0xffffffff81234567           an address
//	kprobe:… k:…                 through a kprobe; kretprobe:… kr:… its return
//	fentry:… kfunc:…             through a BPF trampoline; fexit:… kretfunc:… the return
//	tracepoint:GROUP:EVENT t:…   a tracepoint; rawtp:EVENT rt:… the same without its fields
//	syscall:openat               a system call
//	uprobe:PATH:SYMBOL u:…       a function of a program or library; uretprobe:… ur:… its return.
//	                             In PATH \ makes the next character (a colon, a blank) part of it
//
// Arguments are [NAME=]FETCH[:TYPE], as in perf and tracefs:
//
//	%a0 %di                      parameter 0 ($arg1 too); a register
//	$retval $latency             at the return
//	$comm $pid $tid $uid $cpu $context $stack $stack0
//	$FIELD args.FIELD            of tracepoints and system calls
//	+8(FETCH) -8(…) +u8(…)       memory behind a pointer; u: of the process
//	@SYMBOL @0xADDRESS \10       memory of the kernel; a constant
//
// with the types u8 … u64, s8 … s64, x8 … x64 (x64 if nothing is said), char, string, ustring, symbol. An argument without
// a name is called after its $NAME, else arg1, arg2 … by its place.
//
// The predicate is "if" and comparisons (== != < <= > >= & ~) of arguments, fetches, numbers (4k 2M 10us 1ms 1s) and
// strings, joined by && || ! and parentheses.
//
// A probe of KindDefault that uses $retval or $latency becomes one of KindLatency. Any error is a *ParseError.
func Parse(text string) (*Spec, error) {
	p := &parser{text: text, spec: &Spec{Text: text}}
	if len(text) > maxText {
		return nil, p.fail(maxText, "the expression is too long", fmt.Sprintf("at most %d bytes are allowed", maxText))
	}
	if err := p.parse(); err != nil {
		return nil, err
	}
	return p.spec, nil
}

// parser reads text from pos on into spec.
type parser struct {
	text     string
	pos      int
	spec     *Spec
	compares int // comparisons seen so far
	depth    int // parentheses and negations that are open
}

func (p *parser) parse() error {
	p.blanks()
	if err := p.place(); err != nil {
		return err
	}
	for p.blanks(); p.pos < len(p.text); p.blanks() {
		if p.word("if") {
			if err := p.predicate(); err != nil {
				return err
			}
			break
		}
		if err := p.argument(); err != nil {
			return err
		}
	}
	if p.spec.Kind == KindDefault && p.usesReturn() {
		p.spec.Kind = KindLatency
	}
	if p.spec.Kind == KindLatency {
		if _, _, err := SplitReturn(p.spec.If); err != nil {
			return p.located(err)
		}
	}
	return nil
}

// usesReturn says whether an argument or the predicate needs a value that exists only at the return.
func (p *parser) usesReturn() bool {
	for _, a := range p.spec.Args {
		if a.Fetch.Base.AtReturn() {
			return true
		}
	}
	found := false
	operands(p.spec.If, func(o *Operand) {
		found = found || o.Kind == OperandArg && o.Arg.Fetch.Base.AtReturn()
	})
	return found
}

func (p *parser) fail(pos int, msg, hint string) error {
	return &ParseError{Text: p.text, Pos: pos, Msg: msg, Hint: hint}
}

// located gives an error of SplitReturn the text that it points into.
func (p *parser) located(err error) error {
	if e, ok := err.(*ParseError); ok {
		e.Text = p.text
	}
	return err
}

// unexpected is the error for the character at pos, where something else should stand.
func (p *parser) unexpected(want string) error {
	if p.pos >= len(p.text) {
		return p.fail(p.pos, want+" is missing", "")
	}
	return p.fail(p.pos, fmt.Sprintf("unexpected %q: %s should stand here", p.rune(), want), "")
}

// rune is the character at pos.
func (p *parser) rune() string {
	for _, r := range p.text[p.pos:] {
		return string(r)
	}
	return ""
}

func (p *parser) peek() byte { return p.at(0) }

// at is the byte n behind the current one; 0 behind the end.
func (p *parser) at(n int) byte {
	if p.pos+n < len(p.text) {
		return p.text[p.pos+n]
	}
	return 0
}

func (p *parser) blanks() {
	for p.pos < len(p.text) && isBlank(p.text[p.pos]) {
		p.pos++
	}
}

// atBlank says whether a word ends here.
func (p *parser) atBlank() bool { return p.pos >= len(p.text) || isBlank(p.text[p.pos]) }

// take skips s if the text goes on with it.
func (p *parser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

// word skips s if it stands here as a whole word.
func (p *parser) word(s string) bool {
	rest, ok := strings.CutPrefix(p.text[p.pos:], s)
	if !ok || rest != "" && (isIdent(rest[0]) || rest[0] == '=' && !strings.HasPrefix(rest, "==")) {
		return false
	}
	p.pos += len(s)
	return true
}

// ident reads a name, or "" if none stands here.
func (p *parser) ident() string {
	start := p.pos
	for p.pos < len(p.text) && isIdent(p.text[p.pos]) && (p.pos > start || !isDigit(p.text[p.pos])) {
		p.pos++
	}
	return p.text[start:p.pos]
}

// digits reads a number without sign or unit: decimal, 0x hexadecimal, 0 or 0o octal. ok is false if there is none or
// it has more than 64 bits; then pos is where it was.
func (p *parser) digits() (value uint64, ok bool) {
	end := p.pos
	if p.peek() == '0' && (p.at(1) == 'x' || p.at(1) == 'X' || p.at(1) == 'o') {
		end += 2
	}
	hex := end > p.pos && p.at(1) != 'o'
	for end < len(p.text) && (isDigit(p.text[end]) || hex && isHex(p.text[end])) {
		end++
	}
	if end == p.pos {
		return 0, false
	}
	value, err := strconv.ParseUint(p.text[p.pos:end], 0, 64)
	if err != nil {
		return 0, false
	}
	p.pos = end
	return value, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func isIdent(c byte) bool { return c == '_' || isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }
