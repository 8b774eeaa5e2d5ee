// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A conn is a connection to the server that speaks RESP2, as much of it as the demo needs:
// https://redis.io/docs/latest/develop/reference/protocol-spec/.
type conn struct {
	net.Conn
	in  *bufio.Reader
	out *bufio.Writer
}

// errReply is an error that the server itself answered with; the connection is still good.
type errReply string

func (e errReply) Error() string { return "server: " + string(e) }

// answerTime is how long an answer may take. A connection of a server that has been stopped for a checkpoint hangs until the server is
// restored, and then ends.
const answerTime = 10 * time.Second

// maxBulk is more than any value of the demo, in bytes.
const maxBulk = 1 << 20

// connect tries until the server answers a PING or the time is over.
func connect(address string, within time.Duration) (*conn, error) {
	deadline := time.Now().Add(within)
	for {
		c, err := connectOnce(address, deadline)
		if err == nil {
			return c, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no answer from %s within %s: %w", address, within, err)
		}
		// Nothing tells when a port begins to be listened on; this is what a real client does.
		time.Sleep(2 * time.Millisecond)
	}
}

func connectOnce(address string, deadline time.Time) (*conn, error) {
	nc, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, in: bufio.NewReader(nc), out: bufio.NewWriter(nc)}
	if pong, err := c.do("PING"); err != nil || pong != "PONG" {
		c.Close()
		return nil, fmt.Errorf("PING answered by %q: %w", pong, err)
	}
	return c, nil
}

// do sends one command and gives its answer; nil strings and integers as text.
func (c *conn) do(args ...string) (string, error) {
	answers, err := c.pipeline(args)
	if err != nil {
		return "", err
	}
	return answers[0], nil
}

// pipeline sends commands together and gives their answers in order.
func (c *conn) pipeline(commands ...[]string) ([]string, error) {
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	for _, args := range commands {
		fmt.Fprintf(c.out, "*%d\r\n", len(args))
		for _, arg := range args {
			fmt.Fprintf(c.out, "$%d\r\n%s\r\n", len(arg), arg)
		}
	}
	if err := c.out.Flush(); err != nil {
		return nil, err
	}
	answers := make([]string, len(commands))
	for i := range answers {
		var err error
		if answers[i], err = c.answer(); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func (c *conn) answer() (string, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("empty answer")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errReply(rest)
	case '$':
		size, err := strconv.Atoi(rest)
		if err != nil || size < -1 || size > maxBulk {
			return "", fmt.Errorf("answer with a length of %q", rest)
		}
		if size == -1 {
			return "", nil
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(c.in, text); err != nil {
			return "", err
		}
		return string(text[:size]), nil
	default:
		return "", fmt.Errorf("unexpected answer %q", line)
	}
}
