// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"os"
	"testing"
)

func TestSelf(t *testing.T) {
	p, err := Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s, err := p.Status()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", s)
	st, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", st)
	v, err := p.Smaps(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range v {
		t.Logf("%+v %s", v, v.Flags)
	}
	fds, err := p.FDs(nil)
	t.Log(fds, err)
	for _, fd := range fds {
		l, err := p.FDLink(fd)
		i, err2 := p.FDInfo(fd)
		t.Log(l, err, i, err2)
	}
}
