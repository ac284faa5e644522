//go:build !unix

package h1

import "syscall"

// tryState has no non-blocking read to offer here: a closed idle connection is
// then found by the request that uses it, as an IdleRace.
type tryState struct{}

func (*tryState) init() {}

func (*tryState) read(syscall.RawConn, []byte) (int, error) { return 0, errWouldBlock }
