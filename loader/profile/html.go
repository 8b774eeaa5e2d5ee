// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// page is what the page is made of, a file a subject.
//
//go:embed page
var page embed.FS

// pageScripts are the page's scripts, in the order in which they run: as one script.
var pageScripts = []string{
	"failure.js", "data.js", "look.js", "lanes.js", "timeline.js", "overview.js", "explore.js", "bars.js", "histogram.js", "tables.js", "main.js",
}

// maxPageCalls is how many single calls a page has at most: the longest. 200,000 take 2 to 3 MB, and a browser less than a second.
const maxPageCalls = 200_000

// WriteHTML writes the report as one page for a browser: a timeline of the stages of each process with the calls of its threads, what
// each probe had of each stage, latencies, and tables.
//
// The page needs nothing else and can reach nothing else: its Content-Security-Policy allows its own script and style, by their
// hashes, and no connection at all. Whatever the report has of the kernel's and the programs' names is data in it, and never markup. Of
// more than 200,000 calls it shows the longest, and says so; its figures are of all.
func (r *Report) WriteHTML(w io.Writer) error {
	if err := r.writeHTML(w); err != nil {
		return fmt.Errorf("write the report as a page: %w", err)
	}
	return nil
}

func (r *Report) writeHTML(w io.Writer) error {
	// encoding/json writes <, > and & as escape sequences, so nothing in it can end the script element that holds it.
	data, err := json.Marshal(r.pageData())
	if err != nil {
		return err
	}
	frame, err := page.ReadFile("page/page.html")
	if err != nil {
		return err
	}
	style, err := page.ReadFile("page/page.css")
	if err != nil {
		return err
	}
	script, err := pageScript()
	if err != nil {
		return err
	}
	// What a placeholder stands for is never looked through for placeholders.
	values := map[string][]byte{
		"TITLE":      []byte(html.EscapeString(fmt.Sprintf("Profile of %s by %s", r.What, r.Engine))),
		"STYLE-HASH": hashSource(style), "STYLE": style,
		"SCRIPT-HASH": hashSource(script), "SCRIPT": script,
		"DATA": data,
	}
	out := bufio.NewWriter(w)
	for rest := frame; len(rest) > 0; {
		text, after, found := bytes.Cut(rest, []byte("{{"))
		out.Write(text)
		rest = after
		if found {
			name, behind, _ := bytes.Cut(after, []byte("}}"))
			value, known := values[string(name)]
			if !known {
				return fmt.Errorf("page.html: nothing is called %q", name)
			}
			out.Write(value)
			rest = behind
		}
	}
	return out.Flush() // with the first error of all writes
}

// pageScript puts the page's scripts together, in a scope of their own.
func pageScript() ([]byte, error) {
	b := []byte("(() => {\n'use strict';\n")
	for _, name := range pageScripts {
		text, err := page.ReadFile("page/" + name)
		if err != nil {
			return nil, err
		}
		b = append(append(b, text...), '\n')
	}
	return append(b, "})();\n"...), nil
}

// hashSource is how a Content-Security-Policy names an element's text.
func hashSource(text []byte) []byte {
	sum := sha256.Sum256(text)
	return fmt.Appendf(nil, "'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
}

// pageData is what the page's script gets.
type pageData struct {
	Report *Report    `json:"report"`
	Calls  pageCalls  `json:"calls"`
	Tasks  []pageTask `json:"tasks"`
}

// pageCalls are the single calls. Data has them in order of their start, each as varints: the start since the last one's (zigzag),
// the duration, the index of the task, of the probe, of the stage plus 1, and the depth times 2, plus 1 if it failed.
type pageCalls struct {
	Total int    `json:"total"`
	Kept  int    `json:"kept"`
	Data  []byte `json:"data"` // base64 in JSON
}

type pageTask struct {
	TID  uint32 `json:"tid"`
	PID  int    `json:"pid"`
	Comm string `json:"comm"`
}

func (r *Report) pageData() pageData {
	calls := r.longest(maxPageCalls)
	d := pageData{Report: r, Calls: pageCalls{Total: len(r.Calls), Kept: len(calls), Data: []byte{}}, Tasks: []pageTask{}}
	tasks := map[uint32]uint64{}
	var last int64
	for i := range calls {
		c := &calls[i]
		task, known := tasks[c.TID]
		if !known {
			task = uint64(len(d.Tasks))
			tasks[c.TID] = task
			d.Tasks = append(d.Tasks, pageTask{c.TID, r.processOf(c.TID), strings.ToValidUTF8(r.Tasks[c.TID].Comm, "\ufffd")})
		}
		b := binary.AppendVarint(d.Calls.Data, int64(c.Start)-last)
		last = int64(c.Start)
		b = binary.AppendUvarint(b, uint64(max(c.Dur, 0)))
		b = binary.AppendUvarint(b, task)
		b = binary.AppendUvarint(b, uint64(c.Probe))
		b = binary.AppendUvarint(b, uint64(max(int(c.Stage), -1)+1))
		rest := uint64(c.Depth) << 1
		if c.Fail {
			rest |= 1
		}
		d.Calls.Data = binary.AppendUvarint(b, rest)
	}
	return d
}

// longest gives at most n calls, in order of their start. What a call lies within is at least as long, so it stays as well.
func (r *Report) longest(n int) []Call {
	calls := slices.DeleteFunc(slices.Clone(r.Calls), func(c Call) bool { return int(c.Probe) >= len(r.Probes) })
	if len(calls) > n {
		slices.SortStableFunc(calls, func(a, b Call) int { return cmp.Or(cmp.Compare(b.Dur, a.Dur), cmp.Compare(a.Depth, b.Depth)) })
		calls = calls[:n]
	}
	slices.SortStableFunc(calls, func(a, b Call) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Depth, b.Depth)) })
	return calls
}
