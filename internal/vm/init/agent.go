// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/vm/wire"
)

// server answers the host. It ends with the port.
type server struct {
	mu   sync.Mutex // of out
	out  *json.Encoder
	jobs map[int]*job // of the goroutine that reads the port
}

// agent runs commands for the host until that says shutdown or goes away.
func agent() error {
	device, err := portDevice()
	if err != nil {
		return err
	}
	port, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer port.Close()
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	s := &server{out: json.NewEncoder(port), jobs: map[int]*job{}}
	s.send(wire.FromGuest{Ready: &wire.Ready{Release: unix.ByteSliceToString(uname.Release[:])}})
	in := json.NewDecoder(port)
	for {
		var line wire.ToGuest
		if err := in.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("%s: %w", device, err)
		}
		if line.Shutdown {
			return nil
		}
		s.handle(line)
	}
}

func (s *server) handle(line wire.ToGuest) {
	if line.Start != nil {
		j, err := s.start(line.ID, line.Start)
		if err != nil {
			s.send(wire.FromGuest{ID: line.ID, Exit: &wire.Exit{Code: -1, Error: err.Error()}})
			return
		}
		s.jobs[line.ID] = j
	}
	j := s.jobs[line.ID]
	if j == nil {
		return // it has ended meanwhile
	}
	if len(line.Stdin) > 0 || line.StdinEOF {
		j.stdin.add(line.Stdin, line.StdinEOF)
	}
	if line.Signal != 0 {
		j.signal(unix.Signal(line.Signal))
	}
	if line.Size != nil && j.terminal != nil {
		_ = setSize(j.terminal, line.Size) // a terminal of the wrong size still shows the program
	}
}

// send writes one line. When the port is gone the reader notices and the guest ends.
func (s *server) send(line wire.FromGuest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.out.Encode(line)
}
