// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"strings"
	"testing"

	"github.com/trapline/trapline/checkpoint/cpu"
)

func TestCPUNeed(t *testing.T) {
	const fpu, ins, same = cpu.NeedFPU, cpu.NeedInstructions, cpu.NeedSame
	for _, c := range []struct {
		caps string
		want cpu.Need
	}{
		{"", fpu | ins},
		{"all", fpu | ins | same},
		{"none", 0},
		{"fpu", fpu},
		{"cpu,ins", same | ins},
		{"^cpu", fpu | ins},
		{"all,^fpu", ins | same},
	} {
		var caps []string
		if c.caps != "" {
			caps = strings.Split(c.caps, ",")
		}
		if got, err := cpuNeed(caps); err != nil || got != c.want {
			t.Errorf("%q: %b (%v), want %b", c.caps, got, err, c.want)
		}
	}
	if _, err := cpuNeed([]string{"gpu"}); err == nil {
		t.Error("gpu was accepted")
	}
}

func TestRefuseExternal(t *testing.T) {
	if err := refuseExternal([]string{"unix[12]"}); err != nil {
		t.Error(err)
	}
	if err := refuseExternal([]string{"unix[12]", "file[1:2]"}); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "file[1:2]") {
		t.Errorf("file[1:2]: %v", err)
	}
}
