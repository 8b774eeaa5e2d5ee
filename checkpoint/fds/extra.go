// SPDX-License-Identifier: Apache-2.0

package fds

import "github.com/trapline/trapline/checkpoint/image"

// extraName is our own file beside CRIU's images.
const extraName = "trapline-fds.json"

// extra is what CRIU's images have no field for. A restore works without it.
type extra struct {
	// Semaphores are the ids of eventfds made with EFD_SEMAPHORE.
	Semaphores []uint32 `json:"semaphores,omitempty"`
	// MPTCP are the ids of multipath TCP sockets, which the image has as TCP.
	MPTCP []uint32 `json:"mptcp,omitempty"`
	// Epoll gives for the id of an epoll instance, in the order of its entry's targets, which open file is watched and by
	// which number it was added. The image itself must name a number that refers to the file now.
	Epoll map[uint32][]epollTarget `json:"epoll,omitempty"`
}

type epollTarget struct {
	File uint32 `json:"file"`
	FD   int32  `json:"fd"`
}

func (x *extra) empty() bool { return len(x.Semaphores) == 0 && len(x.MPTCP) == 0 && len(x.Epoll) == 0 }

func (x *extra) write(w *image.Writer) error {
	if x.empty() {
		return nil
	}
	return w.Extra(extraName, x)
}
