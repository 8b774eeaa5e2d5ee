// SPDX-License-Identifier: Apache-2.0

// Package profile says what the time of a dump, a restore or any other operation in stages went to: stage × probe.
//
// A [Recorder] takes the calls of probed functions, as a loader session sends them, and the stages that an operation was in, from a
// stage timeline or from the operation's own functions (a stage map). [Recorder.Report] puts both together. The Report is plain data:
// it is shown as a table ([Report.WriteTable]), and written as JSON, as a page (WriteHTML), as a trace (WriteTrace) and as a pprof
// profile (WritePprof); two are compared by Compare.
//
// # Whose time is it
//
// Each instant of a stage is given to exactly one thing, so the parts of a stage and its unexplained rest add up to the stage's time.
// Of the tasks that are in a probed function at that instant, and work for that stage, each has an equal share, and of each task the
// innermost probed function has it. Functions that only wait (for a process, for a lock) have a share only of instants in which no
// task is in a function that works. An instant in which no task is in a probed function is unexplained: user space, and kernel
// functions that are not probed.
//
// A task works for the stage that its own process is in. A task whose process is in none of its own works for the stage that began
// last: the engine's threads for what the engine does now. So what a batch does inside the target counts for the stage that asked for it.
package profile

import "time"

// Format is the version of the JSON of a Report. A reader refuses others.
const Format = 1

// A Report is what a profile found. Times are in ns.
type Report struct {
	Format   int       `json:"format"`
	What     string    `json:"what"`              // "dump", "restore", or the command's name
	Command  []string  `json:"command,omitempty"` // the arguments that were given
	Began    time.Time `json:"began"`
	Kernel   string    `json:"kernel"` // its release
	Arch     string    `json:"arch"`   // Go's name
	CPUs     int       `json:"cpus"`
	Engine   string    `json:"engine"`              // "trapline", or whose stages these are by the stage map
	StageMap string    `json:"stage_map,omitempty"` // the file of the stage map

	Total   time.Duration `json:"total_ns"`            // from the first stage's begin to the last one's end
	Frozen  time.Duration `json:"frozen_ns,omitempty"` // of a dump: how long the target did not run
	Outside time.Duration `json:"outside_ns"`          // of Total: in no stage

	Stages    []Stage   `json:"stages"`    // of all processes together, in their order
	Processes []Process `json:"processes"` // each process' own stages; the process 0 is the whole tree
	Probes    []Probe   `json:"probes"`
	Spans     []Span    `json:"spans"` // each time that a stage ran for a process, in order of their start

	// Calls are all calls, in order of their start. They are not in the JSON: there can be a million of them.
	Calls []Call `json:"-"`
	// Tasks names the threads of Calls.
	Tasks map[uint32]Task `json:"-"`

	Lost     Lost     `json:"lost"`
	Warnings []string `json:"warnings,omitempty"` // what could not be probed, and other limits of what the report says
}

// Lost is what the kernel saw and the report does not have. If any is not zero, times of parts are too small and the unexplained rests
// too large.
type Lost struct {
	Dropped uint64 `json:"dropped"` // calls for which there was no room in the event ring
	Missed  uint64 `json:"missed"`  // hits that the kernel could not deliver to a probe
	Beyond  uint64 `json:"beyond"`  // calls beyond the most that a report keeps
}

// Any says whether anything is missing.
func (l Lost) Any() bool { return l.Dropped != 0 || l.Missed != 0 || l.Beyond != 0 }

// A Stage is one row group of the table: a stage over all processes, or over one.
type Stage struct {
	Name  string        `json:"name"`
	What  string        `json:"what,omitempty"` // one line, for a reader
	Peer  string        `json:"peer,omitempty"` // CRIU's functions that do the same, or those by which the stage is known
	Start time.Duration `json:"start_ns"`       // of its first span, since the first stage's begin

	// Wall is the time in which the stage was at work: what ran at once counts once, and time in a stage inside of it does not count.
	// It is the sum of the Self of all parts and of Unexplained.
	Wall        time.Duration `json:"wall_ns"`
	Unexplained time.Duration `json:"unexplained_ns"` // no task was in a probed function

	Parts []Part `json:"parts"` // the largest Self first

	N           int           `json:"n"`                         // in how many processes it ran; 1 for one of the whole tree only
	Slowest     int           `json:"slowest_pid,omitempty"`     // the process with the largest Wall, if there are several
	SlowestWall time.Duration `json:"slowest_wall_ns,omitempty"` // of that process
}

// A Part is what one probe had of a stage.
type Part struct {
	Probe int    `json:"probe"` // index into Report.Probes
	Label string `json:"label"` // the probe's, as tables show it

	Self  time.Duration `json:"self_ns"` // of the stage's Wall; no instant counts twice
	Share float64       `json:"share"`   // Self of the stage's Wall, 0 … 1

	// Of the calls that began in this stage; they may lie within each other, run at the same time, and reach beyond the stage.
	Calls  uint64        `json:"calls"`
	Errors uint64        `json:"errors,omitempty"` // of system calls: those that returned -1 … -4095
	Total  time.Duration `json:"total_ns"`
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
	StdDev float64       `json:"stddev_ns"` // of one call
	Hist   []uint64      `json:"hist"`      // calls by latency, as probes.BucketRange has it; trailing zeros are left out
}

// A Process is one process' share.
type Process struct {
	PID    int     `json:"pid"` // 0: what was done for the whole tree
	Comm   string  `json:"comm,omitempty"`
	Stages []Stage `json:"stages"`
}

// A Probe is one that was placed.
type Probe struct {
	Label     string  `json:"label"`
	Mechanism string  `json:"mechanism"` // by what it gets its hits
	Wait      bool    `json:"wait,omitempty"`
	Calls     uint64  `json:"calls"`             // in the kernel's count, whatever became of the events
	Bias      float64 `json:"bias_ns,omitempty"` // how much longer than the call itself a latency is, ns, as measured at start; 0: not known
}

// A Span is one stage of one process, once.
type Span struct {
	Stage string        `json:"stage"`
	PID   int           `json:"pid"`
	Start time.Duration `json:"start_ns"` // since the first stage's begin
	Dur   time.Duration `json:"dur_ns"`
}

// A Call is one call of a probed function.
type Call struct {
	Start time.Duration // since the first stage's begin; negative for one that began before
	Dur   time.Duration
	TID   uint32
	Probe uint16 // index into Report.Probes
	Stage int16  // index into Report.Stages of the stage it began in; -1: none
	Depth uint16 // how many probed functions it was called within
	Fail  bool   // it returned an error number
}

// A Task is a thread that calls were made by.
type Task struct {
	PID  uint32
	Comm string
}
