//go:build !unix

package program

import "os/exec"

// OwnGroup does nothing: there are no process groups, and the command alone is
// killed when its context ends.
func OwnGroup(*exec.Cmd) {}
