// SPDX-License-Identifier: Apache-2.0

package place

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNotSupported is wrapped by errors about what this kernel can't do.
var ErrNotSupported = errors.New("not supported")

// An Error says why a probe can't be placed, and what comes nearest.
type Error struct {
	Place   string   // as the user wrote it
	Err     error    // why
	Instead []string // expressions that work here
}

func (e *Error) Error() string {
	s := fmt.Sprintf("probe %s: %v", e.Place, e.Err)
	if len(e.Instead) > 0 {
		s += "; what works here: " + strings.Join(e.Instead, ", ")
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// mostErrors is how many errors of one kind are worth reading.
const mostErrors = 10

// JoinFew joins errors, but not thousands. Places that fail for one reason share one.
func JoinFew(errs []error) error {
	errs = alike(errs)
	if more := len(errs) - mostErrors; more > 0 {
		errs = append(errs[:mostErrors:mostErrors], fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

// Several places that fail for the same reason are named up to so many, and what works instead of them.
const (
	namedPlaces  = 3
	namedInstead = 4
)

// alike makes one error of several places that fail for the same reason.
func alike(errs []error) (list []error) {
	groups := map[string][]*Error{}
	for _, err := range errs {
		var e *Error
		if errors.As(err, &e) {
			groups[e.Err.Error()] = append(groups[e.Err.Error()], e)
		}
	}
	for _, err := range errs {
		var e *Error
		if !errors.As(err, &e) {
			list = append(list, err)
			continue
		}
		group := groups[e.Err.Error()]
		switch {
		case group == nil: // said already
		case len(group) <= namedPlaces:
			list = append(list, err)
		default:
			list = append(list, together(group))
			delete(groups, e.Err.Error())
		}
	}
	return list
}

// together names some of the places, and some of what works instead.
func together(group []*Error) *Error {
	all := &Error{Err: group[0].Err}
	var names []string
	for i, e := range group {
		if i < namedPlaces {
			names = append(names, e.Place)
		}
		for _, instead := range e.Instead {
			if len(all.Instead) < namedInstead && !slices.Contains(all.Instead, instead) {
				all.Instead = append(all.Instead, instead)
			}
		}
	}
	all.Place = fmt.Sprintf("%s and %d more", strings.Join(names, ", "), len(group)-namedPlaces)
	return all
}
