//go:build unix && !linux

package lab

import "syscall"

func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// frozen cannot tell here; the signal is delivered before kill(2) returns on
// the systems concerned.
func frozen(int) (bool, error) { return true, nil }
