// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
)

// virtiofsdPath is QEMU's own file server, in Debian 12's qemu-system-common, which is not in PATH.
const virtiofsdPath = "/usr/lib/qemu/virtiofsd"

// fileServer is a process that gives a guest the host's root directory.
type fileServer struct {
	tag    string // what the guest mounts
	socket string // what QEMU connects to
	*child
}

// serveFiles starts a file server. cache is one of virtiofsd's: "always" keeps what the guest has seen once, "auto" asks again.
func serveFiles(ctx context.Context, tag, socket, cache string, log *slog.Logger) (*fileServer, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // the server has it
	defer listener.Close()
	file, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, virtiofsdPath, "--fd=3", "-f", "-o", "source=/", "-o", "cache="+cache,
		// chroot needs the least of the machine it runs on; with / as the source it hides nothing.
		"-o", "sandbox=chroot", "-o", "log_level=err",
		// Raising the limit needs a capability that containers lack.
		"--rlimit-nofile=0")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stdout, cmd.Stderr = &said, &said
	server, err := startChild(cmd)
	if err != nil {
		return nil, fmt.Errorf("start virtiofsd (Debian's qemu-system-common): %w", err)
	}
	go func() {
		<-server.done
		log.Debug("virtiofsd has ended", "tag", tag, "error", server.err, "said", said.String())
	}()
	return &fileServer{tag: tag, socket: socket, child: server}, nil
}
