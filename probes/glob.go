// SPDX-License-Identifier: Apache-2.0

package probes

import "strings"

// globCharacters are those that make a name a pattern.
const globCharacters = "*?["

// IsGlob says whether a name is a pattern for MatchGlob: whether it has one of * ? [ in it.
func IsGlob(name string) bool { return strings.ContainsAny(name, globCharacters) }

// MatchGlob says whether the whole name matches the pattern: * stands for any characters or none, ? for one, [a-z] for
// one of a set, [!a-z] or [^a-z] for one outside it. A [ that is never closed stands for itself. The time it takes is at
// most the product of both lengths, whatever the pattern.
func MatchGlob(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0 // the last * seen, and the first character of name behind what it has taken so far
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, from = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if width, ok := matchOne(pattern[p:], name[n]); ok {
				p += width
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		// Only the last * need be tried again: what an earlier one could take more, this one can too.
		from++
		p, n = star+1, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches the first element of a pattern, which is no *, with one character. It gives the element's length.
func matchOne(pattern string, c byte) (width int, ok bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		if end := setEnd(pattern); end > 0 {
			return end + 1, inSet(pattern[1:end], c)
		}
	}
	return 1, pattern[0] == c
}

// setEnd gives the index of the ] that closes the set at the pattern's start, or -1. A ] right behind [ or [! belongs to
// the set.
func setEnd(pattern string) int {
	i := 1
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		i++
	}
	if i >= len(pattern) {
		return -1
	}
	end := strings.IndexByte(pattern[i+1:], ']')
	if end < 0 {
		return -1
	}
	return i + 1 + end
}

// inSet says whether c is in the set, of which the brackets are off.
func inSet(set string, c byte) bool {
	outside := set[0] == '!' || set[0] == '^'
	if outside {
		set = set[1:]
	}
	found := false
	for i := 0; i < len(set); i++ {
		low, high := set[i], set[i]
		if i+2 < len(set) && set[i+1] == '-' {
			high = set[i+2]
			i += 2
		}
		found = found || low <= c && c <= high
	}
	return found != outside
}
