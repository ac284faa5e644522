//go:build !linux

package h1

import "syscall"

// setUserTimeout does nothing where TCP_USER_TIMEOUT does not exist: keep-alive
// probes alone have to find a silent peer.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }
