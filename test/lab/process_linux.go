package lab

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// frozen reports whether SIGSTOP has taken effect on the process.
func frozen(pid int) (bool, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false, err
	}
	// The state follows the command name, which stands in parentheses and may
	// hold any character: proc_pid_stat(5).
	i := bytes.LastIndexByte(b, ')')
	if i < 0 || i+2 >= len(b) {
		return false, fmt.Errorf("/proc/%d/stat: no process state in %q", pid, b)
	}
	return b[i+2] == 'T', nil
}
