// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/trapline/trapline/checkpoint/image"
)

// maxProblems is how many problems of a directory are printed; all of them are in the JSON.
const maxProblems = 20

// verify is trapline verify: is a directory of images whole. Exit status 1 if anything is wrong with it.
func (a *app) verify(s *settings) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rep, err := image.Verify(ctx, s.imagesDir)
	if err == nil {
		if s.json {
			err = writeJSON(a.stdout, rep)
		} else {
			err = writeVerdict(a.stdout, rep)
		}
	}
	switch {
	case err != nil:
		return a.fail("verify", err)
	case !rep.OK():
		return exitFailed
	}
	return exitDone
}

// writeVerdict prints a report a directory, that of the parents last.
func writeVerdict(w io.Writer, rep *image.Report) error {
	for ; rep != nil; rep = rep.Parent {
		verdict := "whole: every byte of the dump is as it was written"
		switch {
		case !rep.Complete:
			verdict = "incomplete"
		case len(rep.Problems) > 0:
			verdict = "damaged"
		case !rep.Summed:
			verdict = "no checksums (not made by Trapline): every image can be read and they fit together, changed contents can't be found"
		}
		if _, err := fmt.Fprintf(w, "%s: %s, %s: %s\n", printable(rep.Dir), count(rep.Files, "file", "files"), size(rep.Bytes), verdict); err != nil {
			return err
		}
		for i, p := range rep.Problems {
			line := printable(p.String())
			if i == maxProblems {
				line = fmt.Sprintf("and %d more; -o json lists all", len(rep.Problems)-i)
			}
			if _, err := fmt.Fprintf(w, "  %s\n", line); err != nil {
				return err
			}
			if i == maxProblems {
				break
			}
		}
	}
	return nil
}
