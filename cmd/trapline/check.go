// SPDX-License-Identifier: Apache-2.0

package main

// check is trapline check.
func (a *app) check(_ *settings) int { return exitFailed }
