// SPDX-License-Identifier: Apache-2.0

package checkpoint

// files writes what descriptors hold (pipe data, socket queues, memfds, deleted files) and files.img. The descriptor
// tables themselves have been read by collect, so that refusals come before anything is changed.
func (d *dumper) files() error {
	if err := d.fds.Finish(); err != nil {
		return fdsError(err)
	}
	return nil
}

// nextPagesID numbers the pages-N.img files.
func (d *dumper) nextPagesID() uint32 {
	d.pagesID++
	return d.pagesID
}
