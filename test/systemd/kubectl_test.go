package systemd

import (
	"bytes"
	"os/exec"
	"sync"
)

// output is what a command has printed so far.
type output struct {
	mu    sync.Mutex
	bytes bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.String()
}

// kubectl prepares one that calls from outside.
func (h *host) kubectl(address string, args ...string) (*exec.Cmd, *output) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), "nsenter", append([]string{
		"--net=/run/netns/" + bridge.name, cluster.Paths.Kubectl, "--kubeconfig=/dev/null",
		"--server=https://" + address + ":8443", "--certificate-authority=" + cluster.CAFile(), "--token=" + clientToken,
	}, args...)...)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = []string{"HOME=" + h.t.TempDir(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd, &out
}
