package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"syscall"
)

// unreachable says why there was no answer, and what to do.
func (c *Client) unreachable(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the rest is a URL that nobody asked for
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no socket %s: start it, or name its socket with --control-socket or its configuration with --config", ErrNotRunning, c.where)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody answers on %s", ErrNotRunning, c.where)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the socket %s%s: run with sudo, or join that group: %w", c.where, access(c.where), err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: no answer in time: %w", c.where, err)
	}
	return fmt.Errorf("%s: %w", c.where, err)
}

// access describes who may connect to a socket, as far as this user can see.
func access(socket string) string {
	info, err := os.Stat(socket)
	if err != nil {
		return " is in a directory that is closed to you"
	}
	return fmt.Sprintf(" is mode %04o of group %s", info.Mode().Perm(), groupOf(info))
}
