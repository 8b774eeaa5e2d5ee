// SPDX-License-Identifier: Apache-2.0

package procfs

import "bytes"

// Timer is a POSIX timer (timer_create) as /proc/PID/timers lists it. Its time is only to be had by timer_gettime
// within the process.
type Timer struct {
	ID     int
	Signal int
	Value  uint64 // sigev_value
	Notify int    // SIGEV_SIGNAL, SIGEV_NONE or SIGEV_THREAD
	// ToThread is SIGEV_THREAD_ID: the signal goes to thread Target, otherwise to process Target. Target is of
	// the PID namespace that /proc was mounted in, and 0 when the thread has ended.
	ToThread bool
	Target   int
	ClockID  int
}

// Values of [Timer.Notify].
const (
	NotifySignal = 0
	NotifyNone   = 1
	NotifyThread = 2
)

// Timers reads the POSIX timers of the process. Without CONFIG_CHECKPOINT_RESTORE the file is missing
// ([io/fs.ErrNotExist]).
func (p *Proc) Timers() ([]Timer, error) {
	var timers []Timer
	err := p.list("timers", func(b []byte) (err error) {
		timers, err = parseTimers(b)
		return err
	})
	return timers, err
}

// parseTimers parses blocks of
//
//	ID: 1
//	signal: 60/00007fff86e452a8
//	notify: signal/pid.2634
//	ClockID: 0
//
// Linux has printed sigev_value without 0x and with as many digits as it likes.
func parseTimers(text []byte) ([]Timer, error) {
	var timers []Timer
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		key, v, ok := cutKey(line)
		if !ok {
			return nil, bad("timers", line)
		}
		if string(key) == "ID" {
			id, ok := parseID(v)
			if !ok {
				return nil, bad("timers", line)
			}
			timers = append(timers, Timer{ID: id})
			continue
		}
		if len(timers) == 0 {
			return nil, bad("timers: no ID before", line)
		}
		t := &timers[len(timers)-1]
		switch string(key) {
		case "signal":
			sig, value, cut := bytes.Cut(v, []byte("/"))
			if t.Signal, ok = parseID(sig); ok && cut {
				// %px of a null pointer may read "(null)" or "(nil)".
				if t.Value, ok = parseHex(value); !ok && len(value) > 0 && value[0] == '(' {
					ok = true
				}
			}
			ok = ok && cut
		case "notify":
			ok = t.parseNotify(v)
		case "ClockID":
			t.ClockID, ok = parseID(v)
		}
		if !ok {
			return nil, bad("timers", line)
		}
	}
	return timers, nil
}

// parseNotify parses "signal/tid.2634".
func (t *Timer) parseNotify(b []byte) bool {
	how, whom, ok := bytes.Cut(b, []byte("/"))
	if !ok {
		return false
	}
	switch string(how) {
	case "signal":
		t.Notify = NotifySignal
	case "none":
		t.Notify = NotifyNone
	case "thread":
		t.Notify = NotifyThread
	default:
		return false
	}
	what, id, ok := bytes.Cut(whom, []byte("."))
	if !ok || string(what) != "pid" && string(what) != "tid" {
		return false
	}
	t.ToThread = string(what) == "tid"
	t.Target, ok = parseID(id)
	return ok
}
