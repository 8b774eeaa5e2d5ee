// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"encoding/json"
	"strconv"
)

// AppendJSON appends an event for programs to b: one line, an object with
//
//	type                "event"
//	time_ns             since boot
//	probe, kind         "entry", "return" or "latency"
//	pid tid cpu comm
//	context, context_name
//	latency_ns, ret     if there are any; ret is a signed number, an error one of -1 … -4095
//	args                an object: numbers as numbers, hexadecimal ones, symbols and strings as strings; {"error": "…"}
//	                    if there is no value
//	regs                an object of hexadecimal strings, if registers were asked for
//	stack               a list of SYMBOL+0xOFFSET, the innermost first, if it was asked for
//
// What is not UTF-8 in a string is replaced by U+FFFD.
func (f *EventFormat) AppendJSON(b []byte, e *Event) []byte {
	b = append(b, `{"type":"event","time_ns":`...)
	b = strconv.AppendUint(b, e.Time, 10)
	b = appendMember(b, "probe")
	b = appendJSONString(b, e.Probe)
	b = appendMember(b, "kind")
	b = appendJSONString(b, e.Kind.String())
	b = appendMember(b, "pid")
	b = strconv.AppendUint(b, uint64(e.PID), 10)
	b = appendMember(b, "tid")
	b = strconv.AppendUint(b, uint64(e.TID), 10)
	b = appendMember(b, "cpu")
	b = strconv.AppendUint(b, uint64(e.CPU), 10)
	b = appendMember(b, "comm")
	b = appendJSONString(b, e.Comm)
	b = appendMember(b, "context")
	b = strconv.AppendUint(b, uint64(e.Context), 10)
	if f.Context != nil {
		b = appendMember(b, "context_name")
		b = appendJSONString(b, f.Context(e.Context))
	}
	if e.HasLatency {
		b = appendMember(b, "latency_ns")
		b = strconv.AppendUint(b, e.Latency, 10)
	}
	if e.HasRet {
		b = appendMember(b, "ret")
		b = strconv.AppendInt(b, signedRet(e.Ret), 10)
	}
	if len(e.Args) > 0 {
		b = appendMember(b, "args")
		for i := range e.Args {
			b = append(b, "{,"[min(i, 1)])
			b = appendJSONString(b, e.Args[i].Name)
			b = append(b, ':')
			b = f.appendJSONValue(b, &e.Args[i])
		}
		b = append(b, '}')
	}
	if t := e.Trapframe; t != nil {
		b = appendMember(b, "regs")
		for i := range t.arch.words {
			b = append(b, "{,"[min(i, 1)])
			b = appendJSONString(b, t.arch.words[i])
			b = append(b, `:"0x`...)
			b = strconv.AppendUint(b, t.regs[i], 16)
			b = append(b, '"')
		}
		b = append(b, '}')
	}
	if len(e.Stack) > 0 {
		b = appendMember(b, "stack")
		for i, address := range e.Stack {
			b = append(b, "[,"[min(i, 1)])
			b = appendJSONString(b, f.Address(address, i > 0))
		}
		b = append(b, ']')
	}
	return append(b, "}\n"...)
}

// appendMember begins the next member of an object. The name needs no escape.
func appendMember(b []byte, name string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":`...)
}

func (f *EventFormat) appendJSONValue(b []byte, v *Value) []byte {
	if v.Err != "" {
		b = append(b, `{"error":`...)
		b = appendJSONString(b, v.Err)
		return append(b, '}')
	}
	switch v.Type.Format {
	case FormatString, FormatUserString:
		return appendJSONString(b, v.Str)
	case FormatUnsigned, FormatSigned:
		return f.appendValue(b, v)
	case FormatChar:
		return appendJSONString(b, string(rune(v.cut()&0xff)))
	}
	b = append(b, '"')
	b = f.appendValue(b, v) // digits, or a symbol's name: nothing to escape
	return append(b, '"')
}

// appendJSONString writes a string in quotes.
func appendJSONString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always can
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
