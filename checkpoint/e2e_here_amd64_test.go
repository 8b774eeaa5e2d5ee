// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

// notHere says which scenarios and tests can't be run on this architecture, and why.
var notHere = map[string]string{}
