//go:build unix && !linux

package lab

import (
	"context"
	"errors"
	"syscall"
)

var errNoBlackhole = errors.New("sockets of other processes can be reached on Linux only")

func canCutOff(int) error { return errNoBlackhole }

func cutOff(context.Context, int, int) error { return errNoBlackhole }

func reconnect(int, int) error { return errNoBlackhole }

// swallow has no packet filter to set here. The relay's not passing data on is
// what remains of a blackhole: new connections are still accepted.
func swallow(syscall.Conn) error { return nil }

func unswallow(syscall.Conn) error { return nil }
