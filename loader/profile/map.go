// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/trapline/trapline/checkpoint/stage"
	"github.com/trapline/trapline/probes"
)

//go:embed criu.stages
var criuStages string

// maxMapStages is how many a map may name; those of our engine are fewer.
const maxMapStages = 48

// A Map says by which functions of a program its stages are known. It is read from text:
//
//	# a comment
//	engine CRIU
//	[dump]
//	pages   parasite_dump_pages_seized
//	threads parasite_dump_thread_seized dump_thread
//
// A line is a stage and the functions that are it: the stage runs while one of them does. A stage inside another one stops that one's
// time. A function that never returns lasts until its process ends. syscall:NAME is a system call of a task that is in none of the
// functions. whole STAGE FUNCTION… is a stage of the whole operation, at work only while no process is in another one that began
// inside. frozen FUNCTION FUNCTION says that what is dumped stands still from the return of the one to the entry of the other, and ends
// FUNCTION that the operation is over when that one returns, however long the program runs on; both name functions of stages. Several lines of one stage are one. Before the first section, engine names whose stages these are, and waits names system
// calls and kernel functions in which this program only waits for another process. The section is that whose name comes first among the command's arguments; what stands
// before the first section holds for every command.
type Map struct {
	Name   string // the file's
	Engine string // whose stages they are
	Binary string // the program's file, whose symbols the functions are
	// Section is the one that was chosen; "" if there is none.
	Section string

	lines  []mapLine
	frozen []mapSpan
	ends   []mapSpan
	moves  bool     // the program moves work from thread to thread, as Go does: its functions belong to the process
	waits  []string // labels of probes whose calls only wait for others in this program
}

// mapSpan names what bounds a time.
type mapSpan struct{ section, from, to string }

// mapLine is a stage and one function of the program, or one system call.
type mapLine struct {
	section, stage, function string
	whole                    bool // of the whole operation, not of the process that is in the function
}

// call is the name of the system call; "" if it is a function.
func (l mapLine) call() string {
	name, ok := strings.CutPrefix(l.function, "syscall:")
	if !ok {
		return ""
	}
	return name
}

// directives are words that begin a line and are no stage's name.
var directives = []string{"engine", "waits", "frozen", "ends", "whole"}

// ReadMap reads a map for a command, of which args are the arguments, and binary is the file. Errors name the line.
func ReadMap(name string, text io.Reader, binary string, args []string) (*Map, error) {
	m := &Map{Name: name, Engine: binary[strings.LastIndexByte(binary, '/')+1:], Binary: binary}
	section, sections := "", []string{}
	scanner := bufio.NewScanner(text)
	for n := 1; scanner.Scan(); n++ {
		line, _, _ := strings.Cut(scanner.Text(), "#")
		fields := strings.Fields(line)
		var err error
		switch {
		case len(fields) == 0:
		case strings.HasPrefix(fields[0], "["):
			title := strings.TrimSpace(line)
			section = strings.Trim(title, "[]")
			if title != "["+section+"]" || section == "" {
				err = fmt.Errorf("want a section as [dump], not %q", title)
			}
			sections = append(sections, section)
		case fields[0] == "engine" && section == "" && len(fields) > 1:
			m.Engine = strings.Join(fields[1:], " ")
		case fields[0] == "waits" && section == "" && len(fields) > 1:
			m.waits = append(m.waits, fields[1:]...)
		case fields[0] == "frozen" && len(fields) == 3:
			m.frozen = append(m.frozen, mapSpan{section, fields[1], fields[2]})
		case fields[0] == "ends" && len(fields) == 2:
			m.ends = append(m.ends, mapSpan{section, fields[1], ""})
		case fields[0] == "whole" && len(fields) > 2:
			err = m.add(section, fields[1], fields[2:], true)
		case slices.Contains(directives, fields[0]):
			err = fmt.Errorf("%s is no stage's name; it stands as engine NAME and waits CALL… before the first section, frozen FUNCTION FUNCTION, ends FUNCTION, whole STAGE FUNCTION…", fields[0])
		case len(fields) == 1:
			err = fmt.Errorf("stage %s has no function: want STAGE FUNCTION…", fields[0])
		default:
			err = m.add(section, fields[0], fields[1:], false)
		}
		if err != nil {
			return nil, fmt.Errorf("stage map %s: line %d: %w", name, n, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("stage map %s: %w", name, err)
	}
	return m, m.choose(sections, args)
}

// add takes the functions of one line.
func (m *Map) add(section, stage string, functions []string, whole bool) error {
	for _, function := range functions {
		l := mapLine{section, stage, function, whole}
		if whole && l.call() != "" {
			return fmt.Errorf("%s: a stage of the whole operation is a function, not a system call", function)
		}
		// Go's methods have brackets and stars in their names.
		if strings.ContainsAny(strings.TrimPrefix(function, "syscall:"), ":%?[") || strings.Contains(function, "*") && !strings.Contains(function, "(*") {
			return fmt.Errorf("%q is no function's name", function)
		}
		if slices.ContainsFunc(m.lines, func(o mapLine) bool { return o.function == function && (o.section == section || o.section == "") }) {
			return fmt.Errorf("function %s stands here for the second time", function)
		}
		m.lines = append(m.lines, l)
	}
	return nil
}

// choose leaves the lines that are for a command with these arguments.
func (m *Map) choose(sections, args []string) error {
	chosen := ""
	if i := slices.IndexFunc(args, func(arg string) bool { return slices.Contains(sections, arg) }); i >= 0 {
		chosen = args[i]
	}
	m.Section = chosen
	other := func(s mapSpan) bool { return s.section != "" && s.section != chosen }
	m.frozen, m.ends = slices.DeleteFunc(m.frozen, other), slices.DeleteFunc(m.ends, other)
	m.lines = slices.DeleteFunc(m.lines, func(l mapLine) bool { return l.section != "" && l.section != chosen })
	switch {
	case len(m.lines) == 0 && len(sections) > 0:
		return fmt.Errorf("stage map %s: nothing in it is for this command: it has the sections %s, and none of these is among the arguments",
			m.Name, strings.Join(sections, ", "))
	case len(m.lines) == 0:
		return fmt.Errorf("stage map %s: it has no stages: want lines STAGE FUNCTION…", m.Name)
	case !m.has(m.frozen) || !m.has(m.ends):
		return fmt.Errorf("stage map %s: frozen and ends name functions that are those of a stage", m.Name)
	case len(m.stages()) > maxMapStages:
		return fmt.Errorf("stage map %s: %d stages; at most %d can be told apart", m.Name, len(m.stages()), maxMapStages)
	}
	return nil
}

// CRIUMap is the map of an unmodified CRIU, of any version since 3.17.
func CRIUMap(binary string, args []string) (*Map, error) {
	return ReadMap("criu.stages", strings.NewReader(criuStages), binary, args)
}

// stages are those of the map: in the design's order where they have its names, then as the map has them.
func (m *Map) stages() []StageInfo {
	var list []StageInfo
	for _, l := range m.lines {
		i := slices.IndexFunc(list, func(s StageInfo) bool { return s.Name == l.stage })
		if i < 0 {
			list = append(list, StageInfo{Name: l.stage, Peer: l.function})
			continue
		}
		list[i].Peer += ", " + l.function
	}
	for i := range list {
		for _, op := range []stage.Op{stage.Dump, stage.Restore} {
			for _, info := range stage.Of(op) {
				if string(info.Name) == list[i].Name && list[i].What == "" {
					list[i].What = info.What
				}
			}
		}
	}
	return list
}

// has says whether stages have the functions that are named.
func (m *Map) has(spans []mapSpan) bool {
	for _, s := range spans {
		for _, name := range []string{s.from, s.to} {
			if name != "" && !slices.ContainsFunc(m.lines, func(l mapLine) bool { return l.function == name }) {
				return false
			}
		}
	}
	return true
}

// functions are the lines that are functions of the program.
func (m *Map) functions() []mapLine {
	return slices.DeleteFunc(slices.Clone(m.lines), func(l mapLine) bool { return l.call() != "" })
}

// calls are the stages of system calls, by the label of their probe.
func (m *Map) calls() map[string]int {
	list, of := m.stages(), map[string]int{}
	for _, l := range m.lines {
		if l.call() != "" {
			of[l.function] = slices.IndexFunc(list, func(s StageInfo) bool { return s.Name == l.stage })
		}
	}
	return of
}

// A mapProbe is a probe for a function of the map: its entry, or one of its returns.
type mapProbe struct {
	spec     *probes.Spec
	function int // index into functions
	entry    bool
}

// probes are those of the functions. What a Go program does not have is left out.
func (m *Map) probes() ([]mapProbe, error) {
	functions := m.functions()
	if len(functions) == 0 {
		return nil, nil
	}
	program, err := readGoProgram(m.Binary)
	if err != nil {
		return nil, fmt.Errorf("stage map %s: %w", m.Name, err)
	}
	m.moves = program != nil
	var list []mapProbe
	for i, l := range functions {
		add := func(place string, entry bool) error {
			spec, err := probes.Parse(place)
			if err != nil {
				return fmt.Errorf("stage map %s: stage %s: %w", m.Name, l.stage, err)
			}
			list = append(list, mapProbe{spec, i, entry})
			return nil
		}
		if program == nil {
			if err := errors.Join(add("uprobe:"+m.Binary+":"+l.function, true), add("uretprobe:"+m.Binary+":"+l.function, false)); err != nil {
				return nil, err
			}
			continue
		}
		entry, returns, ok, err := program.places(l.function)
		if err != nil {
			return nil, fmt.Errorf("stage map %s: stage %s: %s in %s: %w", m.Name, l.stage, l.function, m.Binary, err)
		}
		if !ok {
			continue
		}
		err = add(fmt.Sprintf("uprobe:%s:%#x", m.Binary, entry), true)
		for _, address := range returns {
			err = errors.Join(err, add(fmt.Sprintf("uprobe:%s:%#x", m.Binary, address), false))
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// missing says which functions the program does not have, and fails if it has none of them.
func (m *Map) missing(list []mapProbe, placed map[*probes.Spec]bool) ([]string, error) {
	functions := m.functions()
	var lost, gone []string
	for i, l := range functions {
		if !slices.ContainsFunc(list, func(p mapProbe) bool { return p.function == i && p.entry && placed[p.spec] }) {
			lost = append(lost, l.function)
		}
	}
	if len(lost) == len(functions) && len(lost) > 0 {
		return nil, fmt.Errorf("stage map %s: %s has none of the functions (%s): %w", m.Name, m.Binary, strings.Join(lost, " "), errNoStage)
	}
	for _, s := range m.stages() {
		if !slices.ContainsFunc(m.lines, func(l mapLine) bool { return l.stage == s.Name && !slices.Contains(lost, l.function) }) {
			gone = append(gone, s.Name)
		}
	}
	var warnings []string
	if len(lost) > 0 {
		warnings = append(warnings, fmt.Sprintf("%s does not have these functions of the stage map: %s", m.Binary, strings.Join(lost, " ")))
	}
	if len(gone) > 0 {
		warnings = append(warnings, "so these stages are not told apart from what is around them: "+strings.Join(gone, " "))
	}
	return warnings, nil
}

// errNoStage says that a program can't be profiled by a map.
var errNoStage = errors.New("is it another program, or stripped of its symbols?")

// stageOf is the stage of each function of the program, as an index into stages.
func (m *Map) stageOf() []int {
	list, of := m.stages(), []int(nil)
	for _, l := range m.functions() {
		of = append(of, slices.IndexFunc(list, func(s StageInfo) bool { return s.Name == l.stage }))
	}
	return of
}
