// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxConfig is the largest configuration file read, in bytes: far beyond any that has a use.
const maxConfig = 1 << 20

// configFiles gives the configuration files in the order in which they are read (criu(8), CONFIGURATION FILES),
// and for each whether it must exist. Only as criu are there files that nobody asked for: Trapline itself does
// what its command line says.
func configFiles(s *settings, asCRIU bool, getenv func(string) string) (names []string, must []bool) {
	add := func(name string, m bool) { names, must = append(names, name), append(must, m) }
	if asCRIU && !s.noDefaultConfig {
		add("/etc/criu/default.conf", false)
		if home := getenv("HOME"); home != "" {
			add(filepath.Join(home, ".criu/default.conf"), false)
		}
	}
	if name := getenv("CRIU_CONFIG_FILE"); asCRIU && name != "" {
		add(name, true)
	}
	if s.config != "" {
		add(s.config, true)
	}
	return names, must
}

// readConfigs gives the words of all configuration files as a command line would have them.
func readConfigs(s *settings, asCRIU bool, getenv func(string) string) ([]string, error) {
	names, must := configFiles(s, asCRIU, getenv)
	var args []string
	for i, name := range names {
		info, err := os.Stat(name)
		if err == nil && info.Size() > maxConfig {
			err = fmt.Errorf("%d bytes are more than a configuration file may have (%d)", info.Size(), maxConfig)
		}
		var text []byte
		if err == nil {
			text, err = os.ReadFile(name)
		}
		if errors.Is(err, fs.ErrNotExist) && !must[i] {
			continue
		}
		if err != nil {
			return nil, usagef("configuration file: %w", err)
		}
		more, err := parseConfig(string(text))
		if err != nil {
			return nil, usagef("configuration file %s: %w", name, err)
		}
		args = append(args, more...)
	}
	return args, nil
}

// parseConfig turns a configuration file into arguments: an option a line without its dashes, its value after
// blanks, in double quotes if it has some itself, with \" for a quote in it; # starts a comment.
func parseConfig(text string) ([]string, error) {
	var args []string
	for i, line := range strings.Split(text, "\n") {
		words, err := configWords(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if len(words) == 0 {
			continue
		}
		if len(words) > 2 {
			return nil, fmt.Errorf("line %d: %q after the value of %s", i+1, words[2], words[0])
		}
		name := strings.TrimPrefix(words[0], "--")
		if name == "" || name[0] == '-' {
			return nil, fmt.Errorf("line %d: %q is not a long option's name", i+1, words[0])
		}
		arg := "--" + name
		if len(words) == 2 {
			arg += "=" + words[1]
		}
		args = append(args, arg)
	}
	return args, nil
}

// configWords splits a line into words.
func configWords(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		if line[0] != '"' {
			n := strings.IndexAny(line, " \t\r#")
			if n < 0 {
				n = len(line)
			}
			words, line = append(words, line[:n]), line[n:]
			continue
		}
		var word strings.Builder
		closed, i := false, 1
		for ; i < len(line) && !closed; i++ {
			switch {
			case line[i] == '\\' && i+1 < len(line) && line[i+1] == '"':
				word.WriteByte('"')
				i++
			case line[i] == '"':
				closed = true
			default:
				word.WriteByte(line[i])
			}
		}
		if !closed {
			return nil, errors.New("a quote is not closed")
		}
		words, line = append(words, word.String()), line[i:]
	}
}
