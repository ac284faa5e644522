//go:build !unix

package auth

import "os/exec"

// ownProcessGroup does nothing: there are no process groups, and the plugin
// alone is killed when its context ends.
func ownProcessGroup(*exec.Cmd) {}
