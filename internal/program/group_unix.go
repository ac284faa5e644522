//go:build unix

package program

import (
	"os/exec"
	"syscall"
)

// OwnGroup makes cmd the leader of a process group, all of which is killed when
// cmd's context ends: cmd is often a script, and killing only the shell would
// leave what it waits for. Such a process cannot read from the terminal. Call it
// before cmd starts.
func OwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
