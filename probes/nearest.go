// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"cmp"
	"slices"
)

// maxNameLength bounds what is compared for a suggestion. Kernel symbols have at most 511 characters.
const maxNameLength = 512

// editDistance counts how many characters must be inserted, removed, replaced or swapped with their neighbour to make
// b of a. It gives limit+1 as soon as it is clear that more than limit are needed.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit || len(a) > maxNameLength || len(b) > maxNameLength {
		return limit + 1
	}
	var rows [3][maxNameLength + 1]int
	before, last, row := rows[0][:len(b)+1], rows[1][:len(b)+1], rows[2][:len(b)+1]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		best := i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			row[j] = d
			best = min(best, d)
		}
		if best > limit {
			return limit + 1
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit+1)
}

// Nearest gives the candidates that a user who typed name may have meant, the most likely first, at most n: those in
// which few characters differ.
func Nearest(name string, candidates []string, n int) []string {
	type match struct {
		name     string
		distance int
	}
	limit := typingErrors(name)
	var found []match
	for _, c := range candidates {
		if d := editDistance(name, c, limit); d <= limit {
			found = append(found, match{c, d})
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, m := range found {
		if len(names) < n && !slices.Contains(names, m.name) {
			names = append(names, m.name)
		}
	}
	return names
}

// typingErrors is how many characters may be wrong in a name so that another is still likely to be the one meant.
func typingErrors(name string) int { return min(3, (len(name)+2)/4) }
