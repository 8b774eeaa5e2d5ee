// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"strings"
	"sync"
)

// outcome is how a test ended, in the words of package testing.
type outcome string

const (
	passed     outcome = "PASS"
	failed     outcome = "FAIL"
	skipped    outcome = "SKIP"
	unfinished outcome = "" // it was running when the program ended
)

// testResult is a test, and what it printed.
type testResult struct {
	name    string // with its parents: "TestA/b"
	outcome outcome
	took    string // as printed, "0.01s"
	output  strings.Builder
	subs    []*testResult // in the order in which they started
}

// testOutput reads what a test program prints with -test.v=test2json, and hands out every top-level test when it has ended.
// It is an io.Writer.
//
// In this mode a line of package testing itself has the byte 0x16 before it, also where a test's output does not end in a newline:
//
//	=== RUN   TestA/b      what follows is TestA/b's, until another line names a test
//	=== NAME  TestA        (also PAUSE, CONT)
//	    --- FAIL: TestA/b (0.01s)
type testOutput struct {
	done func(*testResult) // called from Write and finish

	mu      sync.Mutex
	partial []byte
	tests   map[string]*testResult
	order   []*testResult // top-level tests that run
	current *testResult   // whose output comes; nil is the program's own
	rest    strings.Builder
}

// markerByte is what -test.v=test2json puts before testing's own lines.
const markerByte = 0x16

func newTestOutput(done func(*testResult)) *testOutput {
	return &testOutput{done: done, tests: map[string]*testResult{}}
}

func (o *testOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, b...)
	for {
		line, rest, ended := bytes.Cut(o.partial, []byte("\n"))
		if !ended {
			return len(b), nil
		}
		o.line(string(line))
		o.partial = rest
	}
}

// finish ends the output: tests that have not ended are handed out unfinished. It returns what belongs to no test.
func (o *testOutput) finish() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.partial) > 0 {
		o.line(string(o.partial))
		o.partial = nil
	}
	for _, test := range o.order {
		o.done(test)
	}
	o.order = nil
	return o.rest.String()
}

// line takes one line, without its newline.
func (o *testOutput) line(line string) {
	if before, marked, found := cutLast(line, markerByte); found {
		if before != "" {
			o.print(before)
		}
		if o.framework(strings.TrimLeft(marked, " ")) {
			return
		}
		line = marked
	}
	o.print(line)
}

// cutLast cuts s at the last c.
func cutLast(s string, c byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, c)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// print adds a line to the current test's output.
func (o *testOutput) print(line string) {
	to := &o.rest
	if o.current != nil {
		to = &o.current.output
	}
	to.WriteString(line)
	to.WriteByte('\n')
}

// framework takes a line of package testing; false if it is none.
func (o *testOutput) framework(line string) bool {
	for _, prefix := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "} {
		if name, found := strings.CutPrefix(line, prefix); found {
			o.current = o.test(strings.TrimSpace(name))
			return true
		}
	}
	for _, end := range []outcome{passed, failed, skipped} {
		text, found := strings.CutPrefix(line, "--- "+string(end)+": ")
		if !found {
			continue
		}
		name, took, _ := strings.Cut(text, " (")
		test := o.test(name)
		if test == nil {
			return false
		}
		test.outcome, test.took = end, strings.TrimSuffix(took, ")")
		o.current = nil
		if !strings.Contains(name, "/") {
			for i, running := range o.order {
				if running == test {
					o.order = append(o.order[:i], o.order[i+1:]...)
					break
				}
			}
			o.done(test)
		}
		return true
	}
	return false
}

// test returns the test of a name, and makes it when it is new. "" is none.
func (o *testOutput) test(name string) *testResult {
	if name == "" {
		return nil
	}
	if known := o.tests[name]; known != nil {
		return known
	}
	test := &testResult{name: name}
	o.tests[name] = test
	// A subtest's own name may have slashes: its parent is the longest name that is a test.
	for parent := name; ; {
		i := strings.LastIndexByte(parent, '/')
		if i < 0 {
			o.order = append(o.order, test)
			return test
		}
		parent = parent[:i]
		if above := o.tests[parent]; above != nil {
			above.subs = append(above.subs, test)
			return test
		}
	}
}
