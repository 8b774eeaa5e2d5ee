// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of pprof's profile.proto that are written, by message. The file is encoded here and not by github.com/google/pprof/profile
// because that package compiles 30 regular expressions when a program that links it starts: 0.3 ms, also of every dump. The tests read
// the result with it.
const (
	profileSampleType    protowire.Number = 1
	profileSample        protowire.Number = 2
	profileLocation      protowire.Number = 4
	profileFunction      protowire.Number = 5
	profileStrings       protowire.Number = 6
	profileTimeNanos     protowire.Number = 9
	profileDurationNanos protowire.Number = 10
	profileComment       protowire.Number = 13
	profileDefaultType   protowire.Number = 14

	valueTypeType protowire.Number = 1
	valueTypeUnit protowire.Number = 2

	sampleLocations protowire.Number = 1
	sampleValues    protowire.Number = 2
	sampleLabel     protowire.Number = 3

	labelKey    protowire.Number = 1
	labelString protowire.Number = 2
	labelNumber protowire.Number = 3

	locationID   protowire.Number = 1
	locationLine protowire.Number = 4

	lineFunction protowire.Number = 1

	functionID   protowire.Number = 1
	functionName protowire.Number = 2
)

// Names of the frames that are no kernel function.
const (
	frameUnexplained = "(unexplained)"
	frameOutside     = "(outside of stages)"
)

// frameStage is the name of a stage's frame: no function has a name like that.
func frameStage(name string) string { return "[" + name + "]" }

// WritePprof writes the table as a gzipped profile for `go tool pprof`.
//
// There is one sample for each process, stage and probe, with the stack probe ← [stage], and one for what of a stage is unexplained. Its
// values are calls, and self: the time in ns that the table has under self, no instant counted twice. So pprof's flat times of a function
// are the sum of its rows, and the cumulative time of [stage] is that stage's wall time. Which probed function called which is not
// in it: the self time of a stage is exact only by stage and probe.
//
// Samples have the labels pid and comm. Where processes were at work at once, each has the part of the stage's time that it has of the
// sum of all processes' times. What was done for no process in particular has no pid.
func (r *Report) WritePprof(w io.Writer) error {
	p := &pprofWriter{strings: map[string]uint64{}, functions: map[string]uint64{}}
	p.index("") // the first string must be empty
	body := p.encode(r)
	z := gzip.NewWriter(w)
	if _, err := z.Write(body); err != nil {
		return fmt.Errorf("write the report for pprof: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write the report for pprof: %w", err)
	}
	return nil
}

type pprofWriter struct {
	b         []byte
	table     []string
	strings   map[string]uint64 // the place of each in table
	functions map[string]uint64 // the id of each: of the function, and of its only location
}

func (p *pprofWriter) encode(r *Report) []byte {
	for _, t := range [][2]string{{"calls", "count"}, {"self", "nanoseconds"}} {
		p.message(profileSampleType, number(number(nil, valueTypeType, p.index(t[0])), valueTypeUnit, p.index(t[1])))
	}
	for i := range r.Stages {
		p.stage(r, &r.Stages[i])
	}
	p.sample(nil, 0, int64(r.Outside), frameOutside)
	p.b = number(p.b, profileTimeNanos, uint64(r.Began.UnixNano()))
	p.b = number(p.b, profileDurationNanos, uint64(r.Total))
	for _, comment := range append([]string{fmt.Sprintf("%s of %s on Linux %s, %s", r.What, r.Engine, r.Kernel, r.Arch)}, r.Warnings...) {
		p.b = number(p.b, profileComment, p.index(comment))
	}
	p.b = number(p.b, profileDefaultType, p.index("self"))
	for _, s := range p.table { // last, as only now all are known; the order of fields is free
		p.b = protowire.AppendTag(p.b, profileStrings, protowire.BytesType)
		p.b = protowire.AppendString(p.b, s)
	}
	return p.b
}

// A portion is what a process has of a part, or of an unexplained rest.
type portion struct {
	process *Process
	calls   uint64
	self    int64
}

func (p *pprofWriter) stage(r *Report, s *Stage) {
	own := make([]*Stage, len(r.Processes)) // the same stage of each process
	for i := range r.Processes {
		for j := range r.Processes[i].Stages {
			if r.Processes[i].Stages[j].Name == s.Name {
				own[i] = &r.Processes[i].Stages[j]
			}
		}
	}
	for i := range s.Parts {
		part := &s.Parts[i]
		var shares []portion
		for j, stage := range own {
			if stage == nil {
				continue
			}
			for k := range stage.Parts {
				if stage.Parts[k].Probe == part.Probe {
					shares = append(shares, portion{&r.Processes[j], stage.Parts[k].Calls, int64(stage.Parts[k].Self)})
				}
			}
		}
		for _, x := range apportion(shares, part.Calls, int64(part.Self)) {
			p.sample(x.process, x.calls, x.self, part.Label, frameStage(s.Name))
		}
	}
	var shares []portion
	for j, stage := range own {
		if stage != nil {
			shares = append(shares, portion{process: &r.Processes[j], self: int64(stage.Unexplained)})
		}
	}
	for _, x := range apportion(shares, 0, int64(s.Unexplained)) {
		p.sample(x.process, 0, x.self, frameUnexplained, frameStage(s.Name))
	}
}

// apportion makes shares add up to the whole, to the last ns: it makes them smaller in proportion if they are more, and adds one of no
// process if they are less.
func apportion(shares []portion, calls uint64, self int64) []portion {
	var sumCalls, sumSelf uint64
	for _, x := range shares {
		sumCalls += x.calls
		sumSelf += uint64(x.self)
	}
	var doneCalls, doneSelf, seenCalls, seenSelf uint64 // sums of the results, and of what they come from, so far
	for i := range shares {
		x := &shares[i]
		seenCalls += x.calls
		seenSelf += uint64(x.self)
		if sumCalls > calls {
			x.calls = fraction(seenCalls, calls, sumCalls) - doneCalls
		}
		if sumSelf > uint64(self) {
			x.self = int64(fraction(seenSelf, uint64(self), sumSelf) - doneSelf)
		}
		doneCalls += x.calls
		doneSelf += uint64(x.self)
	}
	if doneCalls < calls || doneSelf < uint64(self) {
		shares = append(shares, portion{calls: calls - doneCalls, self: self - int64(doneSelf)})
	}
	return shares
}

// fraction gives a*b/c, rounded down, for a <= c; a*b may have 128 bits.
func fraction(a, b, c uint64) uint64 {
	high, low := bits.Mul64(a, b)
	quotient, _ := bits.Div64(high, low, c) // a <= c: it is at most b, and so high < c
	return quotient
}

// sample adds one sample, with the innermost frame first. One that has nothing is left out.
func (p *pprofWriter) sample(process *Process, calls uint64, self int64, frames ...string) {
	if calls == 0 && self == 0 {
		return
	}
	var stack, values []byte
	for _, frame := range frames {
		stack = protowire.AppendVarint(stack, p.frame(frame))
	}
	values = protowire.AppendVarint(protowire.AppendVarint(nil, calls), uint64(self))
	m := field(field(nil, sampleLocations, stack), sampleValues, values)
	if process != nil {
		if process.PID != 0 {
			m = field(m, sampleLabel, number(number(nil, labelKey, p.index("pid")), labelNumber, uint64(process.PID)))
		}
		comm := cmp.Or(process.Comm, "whole tree")
		m = field(m, sampleLabel, number(number(nil, labelKey, p.index("comm")), labelString, p.index(comm)))
	}
	p.message(profileSample, m)
}

// frame gives the location of a name, and writes it with its function when it is new.
func (p *pprofWriter) frame(name string) uint64 {
	id, known := p.functions[name]
	if !known {
		id = uint64(len(p.functions)) + 1
		p.functions[name] = id
		p.message(profileFunction, number(number(nil, functionID, id), functionName, p.index(name)))
		p.message(profileLocation, field(number(nil, locationID, id), locationLine, number(nil, lineFunction, id)))
	}
	return id
}

// index gives a string's place in the table.
func (p *pprofWriter) index(s string) uint64 {
	i, known := p.strings[s]
	if !known {
		i = uint64(len(p.table))
		p.strings[s] = i
		p.table = append(p.table, s)
	}
	return i
}

func (p *pprofWriter) message(n protowire.Number, m []byte) { p.b = field(p.b, n, m) }

func number(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func field(b []byte, n protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), m)
}
