// SPDX-License-Identifier: Apache-2.0

// Package guest holds tests that package vm's own test runs in a guest.
package guest

import (
	"os"
	"strings"
	"testing"
)

func TestRunsInGuest(t *testing.T) {
	if os.Getenv("TRAPLINE_GUEST") == "" {
		t.Fatal("TRAPLINE_GUEST is not set")
	}
	if os.Getuid() != 0 {
		t.Fatalf("uid is %d, not 0", os.Getuid())
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(release), os.Getenv("TRAPLINE_GUEST")+".") {
		t.Errorf("the kernel is %q, the guest is said to be %q", release, os.Getenv("TRAPLINE_GUEST"))
	}
}

func TestHasItsTestdata(t *testing.T) {
	text, err := os.ReadFile("testdata/greeting")
	if err != nil || string(text) != "read in the guest\n" {
		t.Errorf("testdata: %q, %v", text, err)
	}
}

func TestSubtests(t *testing.T) {
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Log("this is", name)
		})
	}
}

func TestMaySkip(t *testing.T) { t.Skip("this kernel lacks it") }

// TestCaller stands for the test that calls GoTest: it is left out in the guest.
func TestGoTest(t *testing.T) { t.Fatal("this must not run in a guest") }
