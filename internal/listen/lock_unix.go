//go:build unix

package listen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockDir takes the advisory lock on dir that orders processes which look for
// stale sockets in it: between bind and listen a new socket looks stale too.
// A directory that cannot be opened is left unlocked; what is wrong with it
// will show when the socket is made.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}, nil
	}
	unlock = func() { f.Close() } // Closing releases the lock.
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return unlock, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return unlock, nil // The file system has no locks.
		}
		select {
		case <-ctx.Done():
			unlock()
			return nil, fmt.Errorf("another process holds the lock on directory %s (see fuser %s)", dir, dir)
		case <-retry.C:
		}
	}
}
