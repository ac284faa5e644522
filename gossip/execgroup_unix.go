//go:build unix

package gossip

import (
	"os/exec"
	"syscall"
)

// ownProcessGroup makes cmd the leader of a process group, all of which is
// killed when its context ends.
func ownProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
