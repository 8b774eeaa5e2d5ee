// SPDX-License-Identifier: Apache-2.0

// Package wire is what the host and the agent in a guest say to each other: one JSON object a line, in both directions,
// over a virtio-serial port.
//
//	host → guest   {"id":1,"start":{"args":["uname","-r"]}}   {"id":1,"stdin":"…"}   {"id":1,"stdinEOF":true}   {"id":1,"signal":2}
//	guest → host   {"ready":{"release":"6.1.0-…"}}   {"id":1,"stdout":"…"}   {"id":1,"stderr":"…"}   {"id":1,"exit":{"code":0}}
//
// Every command has an id of its own, so several run at the same time. {"shutdown":true} ends the guest; so does the end of
// the port, which is what the guest sees when the host's process dies.
package wire

// Port is the name of the virtio-serial port. The guest finds its device below /sys/class/virtio-ports.
const Port = "trapline.agent"

// Settings is the file of the initramfs, as JSON, that tells the guest's init what to set up before it answers.
const Settings = "/settings.json"

// Tags of the virtio file systems. Both are the host's root. HostTag is cached as if it never changed, which starts a
// program ten times faster; SharedTag is there only with Setup.Shared, and always asks the host.
const (
	HostTag   = "host"
	SharedTag = "shared"
)

// Setup is the content of Settings.
type Setup struct {
	// Modules are kernel modules in the initramfs, each after those that it needs.
	Modules []string `json:"modules,omitempty"`
	// Binds are directories or files of the host that are seen at another place in the guest, read-only.
	Binds []Bind `json:"binds,omitempty"`
	// Shared are directories of the host that the guest writes to. Everything else that it writes stays in its memory.
	Shared []string `json:"shared,omitempty"`
	// Hostname is the guest's.
	Hostname string `json:"hostname"`
	// Env is set for every command, "NAME=value".
	Env []string `json:"env,omitempty"`
}

// Bind makes the host's From appear at To. To is made if it is missing.
type Bind struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// ToGuest is a line from the host.
type ToGuest struct {
	ID       int    `json:"id,omitempty"`
	Start    *Start `json:"start,omitempty"`
	Stdin    []byte `json:"stdin,omitempty"`
	StdinEOF bool   `json:"stdinEOF,omitempty"`
	Signal   int    `json:"signal,omitempty"`
	Size     *Size  `json:"size,omitempty"`
	Shutdown bool   `json:"shutdown,omitempty"`
}

// Start asks for a command to be run. Args[0] is looked up in the guest's PATH.
type Start struct {
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // added to the guest's
	Dir  string   `json:"dir,omitempty"` // "" is /
	// Merged sends standard error as standard output, in the order in which both were written.
	Merged bool `json:"merged,omitempty"`
	// Terminal, if set, is the size of a terminal that the command gets for standard input, output and error.
	Terminal *Size `json:"terminal,omitempty"`
}

// Size is that of a terminal, in characters.
type Size struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

// FromGuest is a line from the guest.
type FromGuest struct {
	ID     int    `json:"id,omitempty"`
	Ready  *Ready `json:"ready,omitempty"`
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	Exit   *Exit  `json:"exit,omitempty"`
}

// Ready is the agent's first line.
type Ready struct {
	Release string `json:"release"` // what uname -r says
}

// Exit is how a command ended.
type Exit struct {
	Code   int    `json:"code"`             // exit status; -1 if it was killed or did not start
	Signal int    `json:"signal,omitempty"` // the signal that killed it
	Error  string `json:"error,omitempty"`  // why it did not start
}
