// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The other tests rely on it: the synthetic report is one that a Recorder could have made.
func TestSyntheticReportAddsUp(t *testing.T) {
	r := syntheticReport(6, 20000, 1, 1)
	t.Logf("%d calls, %d spans, total %v", len(r.Calls), len(r.Spans), r.Total)
	if len(r.Calls) < 15000 || len(r.Calls) > 30000 {
		t.Errorf("%d calls, expected some 20,000", len(r.Calls))
	}
	var walls time.Duration
	for _, s := range r.Stages {
		sum := s.Unexplained
		for _, p := range s.Parts {
			sum += p.Self
		}
		if sum != s.Wall {
			t.Errorf("stage %s: its parts and its rest are %v, its wall time %v", s.Name, sum, s.Wall)
		}
		walls += s.Wall
	}
	if walls+r.Outside != r.Total {
		t.Errorf("the stages take %v, and %v is outside, of %v", walls, r.Outside, r.Total)
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
}

func TestReadTakesWhatWriteJSONWrote(t *testing.T) {
	r := syntheticReport(3, 2000, 1, 1)
	var text bytes.Buffer
	if err := r.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	back, err := Read(&text)
	if err != nil {
		t.Fatal(err)
	}
	expected := *r
	expected.Calls, expected.Tasks = nil, nil
	if !reflect.DeepEqual(back, &expected) {
		t.Error("what was read is not what was written")
	}
}

func TestReadRefuses(t *testing.T) {
	stage := func(fields string) string {
		return `{"format":1,"probes":[{"label":"p"}],"stages":[{"name":"s",` + fields + `}]}`
	}
	part := func(fields string) string { return stage(`"parts":[{"probe":0,"label":"p",` + fields + `}]`) }
	for _, c := range []struct{ name, text, says string }{
		{"nothing", ``, "unexpected end"},
		{"no JSON", `stages`, "invalid character"},
		{"something behind it", `{"format":1} x`, "invalid character"},
		{"another program's", `{"op":"dump"}`, "no format number"},
		{"a later format", `{"format":2,"stages":"other"}`, "format is 2"},
		{"another type", `{"format":1,"stages":"x"}`, "cannot unmarshal"},
		{"NaN", part(`"share":NaN`), "invalid character"},
		{"negative time", `{"format":1,"total_ns":-1}`, "total_ns is -1"},
		{"centuries", `{"format":1,"frozen_ns":9223372036854775807}`, "frozen_ns"},
		{"number too large", `{"format":1,"total_ns":99999999999999999999}`, "cannot unmarshal"},
		{"negative wall", stage(`"wall_ns":-5`), `stage "s": wall_ns is -5`},
		{"stage twice", `{"format":1,"stages":[{"name":"s"},{"name":"s"}]}`, `"s" is there twice`},
		{"index beyond", stage(`"parts":[{"probe":1}]`), "its probe is 1, and there are 1"},
		{"negative index", stage(`"parts":[{"probe":-1}]`), "its probe is -1"},
		{"probe twice", stage(`"parts":[{"probe":0},{"probe":0}]`), "probe 0 is there twice"},
		{"negative self", part(`"self_ns":-1`), "self_ns is -1"},
		{"negative share", part(`"share":-0.5`), "share is -0.5"},
		{"deviation", part(`"stddev_ns":1e300`), "stddev_ns"},
		{"buckets", part(`"hist":[` + strings.Repeat("1,", 60) + `1]`), "61 buckets"},
		{"errors", part(`"calls":1,"errors":2`), "2 errors in 1 calls"},
		{"process twice", `{"format":1,"processes":[{"pid":3},{"pid":3}]}`, "process 3"},
		{"process' stage", `{"format":1,"processes":[{"pid":3,"stages":[{"name":"s","start_ns":-1}]}]}`, `process 3: stage "s"`},
		{"span", `{"format":1,"spans":[{"stage":"s","dur_ns":-1}]}`, "span 0"},
		{"long name", `{"format":1,"stages":[{"name":"` + strings.Repeat("x", 5000) + `"}]}`, "5000 bytes"},
		{"bias", `{"format":1,"probes":[{"label":"p","bias_ns":-1e300}]}`, "bias"},
	} {
		_, err := Read(strings.NewReader(c.text))
		if !errors.Is(err, ErrBadReport) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is %v; it must be ErrBadReport and say %q", c.name, err, c.says)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: the error has %d bytes", c.name, len(err.Error()))
		}
	}
}

type failingWriter struct{ left int }

var errFull = errors.New("no space left")

func (w *failingWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		n := w.left
		w.left = 0
		return n, errFull
	}
	w.left -= len(b)
	return len(b), nil
}

// Whatever does not reach its file is an error of the function that writes it.
func TestWritersReportErrors(t *testing.T) {
	r := syntheticReport(2, 1000, 1, 1)
	for name, write := range writers(r) {
		var whole bytes.Buffer
		if err := write(&whole); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, room := range []int{0, whole.Len() / 2, whole.Len() - 1} {
			if err := write(&failingWriter{room}); !errors.Is(err, errFull) {
				t.Errorf("%s, room for %d of %d bytes: the error is %v", name, room, whole.Len(), err)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	var text bytes.Buffer
	if err := syntheticReport(1, 50, 1, 1).WriteJSON(&text); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes())
	f.Add([]byte(`{"format":1,"probes":[{"label":"p"}],"stages":[{"name":"s","parts":[{"probe":0,"self_ns":3}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		// What was read can be shown.
		for name, write := range writers(r) {
			if err := write(new(bytes.Buffer)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
