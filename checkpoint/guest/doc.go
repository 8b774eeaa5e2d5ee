// SPDX-License-Identifier: Apache-2.0

// Package guest holds the tests that run the checkpoint engine on another architecture than this machine's: its own end-to-end
// tests (package checkpoint), its command line, and the images that it makes there, in a guest of package vm.
package guest
