//go:build !unix

package gossip

import "os/exec"

// ownProcessGroup does nothing: there are no process groups, and the command
// alone is killed when its context ends.
func ownProcessGroup(*exec.Cmd) {}
