package h1

import (
	"net"
	"time"
)

// A connection on which the peer has gone silent is noticed by keep-alive
// probes when it is idle (10 s + 3 × 5 s) and by TCP_USER_TIMEOUT when our
// bytes stay unacknowledged.
const (
	keepAliveIdle     = 10 * time.Second
	keepAliveInterval = 5 * time.Second
	keepAliveCount    = 3
	userTimeout       = 15 * time.Second
)

// NewDialer returns the dialer that Options.Dial defaults to: for callers who
// wrap it.
func NewDialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable:   true,
			Idle:     keepAliveIdle,
			Interval: keepAliveInterval,
			Count:    keepAliveCount,
		},
		Control: setUserTimeout,
	}
}
