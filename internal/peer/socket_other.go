//go:build !linux

package peer

import "runtime"

func ofSocket(int) Peer {
	return Peer{Why: "peers are asked for on Linux only, this is " + runtime.GOOS}
}
