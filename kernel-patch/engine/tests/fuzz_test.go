// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var fuzzTime = flag.Duration("libfuzzer", 0, "fuzz decode, simulate and move for so long, from a random seed")

// libFuzzer's target of programs/fuzz.c: a few inputs from a fixed seed, or with -libfuzzer many.
func TestFuzzTarget(t *testing.T) {
	// An input has 48 bytes. Long ones from the start: short ones are all zeros behind.
	args := []string{"-max_len=48", "-len_control=0", "-artifact_prefix=" + t.TempDir() + "/"}
	if *fuzzTime > 0 {
		args = append(args, "-use_value_profile=1", fmt.Sprintf("-max_total_time=%d", int(fuzzTime.Round(time.Second).Seconds())))
	} else {
		args = append(args, "-seed="+seed, fmt.Sprintf("-runs=%d", setsOf(200000, 20000)))
	}
	cmd := exec.CommandContext(t.Context(), fuzzProgram.build(t), args...)
	cmd.Dir = filepath.Dir(cmd.Path)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, output)
	}
	if *fuzzTime > 0 {
		t.Logf("%s", output)
	}
}
