// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"errors"
	"strings"
	"testing"
)

func TestAnswer(t *testing.T) {
	for _, test := range []struct {
		text, want string
		fails      bool
	}{
		{text: "+OK\r\n", want: "OK"},
		{text: ":42\r\n", want: "42"},
		{text: "$5\r\na\r\nb!\r\n", want: "a\r\nb!"},
		{text: "$0\r\n\r\n", want: ""},
		{text: "$-1\r\n", want: ""},
		{text: "-ERR no\r\n", fails: true},
		{text: "$-2\r\n", fails: true},
		{text: "$99999999999\r\n", fails: true},
		{text: "$5\r\nab", fails: true},
		{text: "\r\n", fails: true},
		{text: "?\r\n", fails: true},
		{text: "", fails: true},
	} {
		c := &conn{in: bufio.NewReader(strings.NewReader(test.text))}
		got, err := c.answer()
		if (err != nil) != test.fails || got != test.want {
			t.Errorf("%q: got %q, %v; want %q, failure %t", test.text, got, err, test.want, test.fails)
		}
	}
}

func TestErrorReplyIsKept(t *testing.T) {
	c := &conn{in: bufio.NewReader(strings.NewReader("-LOADING wait\r\n"))}
	_, err := c.answer()
	var reply errReply
	if !errors.As(err, &reply) || string(reply) != "LOADING wait" {
		t.Errorf("got %v, want the server's own error", err)
	}
}

func TestValuesDiffer(t *testing.T) {
	seen := map[string]string{}
	for client := range 3 {
		for n := range 1000 {
			v := value(client, n)
			if other, ok := seen[v]; ok {
				t.Fatalf("%s and %s have the same value", other, key(client, n))
			}
			seen[v] = key(client, n)
		}
	}
}
