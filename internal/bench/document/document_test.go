// SPDX-License-Identifier: Apache-2.0

package document

import "testing"

func TestReplace(t *testing.T) {
	for _, c := range []struct{ old, want string }{
		{"", "# B\nnew\n"},
		{"# A\n\ntext\n\n## B\n", "# A\n\ntext\n\n## B\n\n# B\nnew\n"},
		{"# A\ntext\n\n# B\nold\n## sub\n\n# C\nmore\n", "# A\ntext\n\n# B\nnew\n\n# C\nmore\n"},
		{"# B\nold", "# B\nnew\n"},
	} {
		if got := replace(c.old, "# B", "# B\nnew\n"); got != c.want {
			t.Errorf("%q: %q, want %q", c.old, got, c.want)
		}
	}
}
