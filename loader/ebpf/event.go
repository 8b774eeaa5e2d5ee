// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"unsafe"

	"github.com/trapline/trapline/bpf"
)

// layout is where in an event what lies: a header, then the parts that the session asks for. 0 is a part that is missing.
type layout struct {
	strings, words, stack, size int
}

const (
	headerSize   = int(unsafe.Sizeof(bpf.TraceEvent{}))
	stringsBytes = maxStrings * stringSize
	wordsBytes   = regWords * 8
	stackBytes   = maxFrames * 8
)

// layoutEvents decides the layout and tells the programs.
func (s *Session) layoutEvents(consts constants, strings bool) {
	l := layout{size: headerSize}
	part := func(wanted bool, bytes int) (offset int) {
		if wanted {
			offset = l.size
			l.size += bytes
		}
		return offset
	}
	l.strings = part(strings, stringsBytes)
	l.words = part(s.opts.Events.Registers, wordsBytes)
	l.stack = part(s.opts.Events.Stack, stackBytes)
	s.layout = l
	consts["events_used"] = uint32(1)
	consts["strings_offset"], consts["words_offset"], consts["stack_offset"] = uint32(l.strings), uint32(l.words), uint32(l.stack)
	consts["event_size"] = uint32(l.size)
}
