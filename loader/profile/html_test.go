// SPDX-License-Identifier: Apache-2.0

package profile

import "io"

// writers are the functions that write a whole report.
func writers(r *Report) map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{"JSON": r.WriteJSON, "page": r.WriteHTML, "trace": r.WriteTrace, "pprof": r.WritePprof}
}
